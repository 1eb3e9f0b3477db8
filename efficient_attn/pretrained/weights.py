"""Files of tensors: nothing in them is ever run, and one that is being written replaces an older one only when it is whole."""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from efficient_attn.files import replacing


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file, by name.

    Raises:
      ValueError: if the file is not whole or not of this format.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file, or is damaged: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors, with the mark by which ``transformers`` knows their layout."""
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with replacing(path) as partial:
        save_file(contiguous, partial, metadata={"format": "pt"})


def read_pickle(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a file of ``torch.save``, by torch's reader that makes tensors and containers and nothing else.

    Raises:
      ModuleNotFoundError: if torch is not installed.
      ValueError: if the file is damaged, or holds something else.
    """
    import torch

    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path} is not a file of tensors alone, or is damaged: {error}") from error
    wide = {torch.bfloat16: torch.float32}
    return {name: x.to(wide.get(x.dtype, x.dtype)).numpy() for name, x in tensors.items()}
