"""The safetensors format: the length of a JSON header, the header, and the tensors' bytes one behind the other.

Reading maps the file into memory, so a tensor that is not used is not read. Nothing in it is ever run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

_FORMATS = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _FORMATS.items()}
# The format's own limit: a header beyond it is damage.
_LARGEST_HEADER = 100_000_000


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file, by name, as read-only views of it.

    Raises:
      ValueError: if the file is not whole or holds a format that is not known here.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise ValueError(f"{path} is not a safetensors file: its header would have {length} of its {size} bytes")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise ValueError(f"{path} is not a safetensors file: its header is not JSON ({error})") from error
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if size > 8 + length else np.empty(0, np.uint8)
    return {name: _tensor(path, data, name, entry) for name, entry in header.items() if name != "__metadata__"}


def _tensor(path: Path, data: np.ndarray, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _FORMATS:
        raise ValueError(f"tensor {name} of {path} is {entry['dtype']}; those known here are {', '.join(_FORMATS)}")
    dtype, (begin, end) = _FORMATS[entry["dtype"]], entry["data_offsets"]
    expected = int(np.prod(entry["shape"], dtype=np.int64)) * dtype.itemsize
    if not 0 <= begin <= end <= len(data) or end - begin != expected:
        raise ValueError(
            f"{path} is damaged: tensor {name} should have {expected} bytes, at {begin} to {end} of {len(data)}"
        )
    # Tensors need not lie at multiples of their size: a copy does.
    return np.frombuffer(data[begin:end].tobytes(), dtype).reshape(entry["shape"])


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors, largest formats first, with the mark by which ``transformers`` knows their layout."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    ordered = sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    place = 0
    for name, tensor in ordered:
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + tensor.nbytes],
        }
        place += tensor.nbytes
    text = json.dumps(header).encode()
    # Data begins at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(np.ascontiguousarray(tensor).tobytes())
