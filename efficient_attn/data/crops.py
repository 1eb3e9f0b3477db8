"""Images of any size, cropped and scaled to small squares once, and read from there.

Decoding ImageNet takes hours of a core, so ``python -m efficient_attn crops CONFIG`` does it before training.

References:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, section 3.1: the shorter side scaled
  to 256 to 384 pixels and 224 x 224 of them taken at random, and this scaled to the model's size; held out, the middle of a
  shorter side of 224. There each epoch draws anew; here ``views`` squares of each image are all that there are.
"""

import concurrent.futures
import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.images import image_stream, open_image, pillow
from efficient_attn.data.labelled import LabelledImages, labelled_stream
from efficient_attn.data.source import Location, files_of_split, list_files, read_file, require_file, require_folder
from efficient_attn.data.splits import SPLITS, Split, SplitFractions, check_fractions
from efficient_attn.data.stream import TokenStream
from efficient_attn.data.tfds import TFDSImages, class_names, open_records, prepared_folder
from efficient_attn.files import replacing

_SHORTER, _CROP = (256, 384), 224
_META = "crops.json"
_REMEDY = "prepare it with `python -m efficient_attn crops CONFIG`, where the original images are"


class Box(NamedTuple):
    """A square of an image, in its pixels."""

    left: float
    upper: float
    right: float
    lower: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CroppedImages:
    """Squares of the images of a data set, which a folder holds once they are prepared.

    Raises:
        ValueError: Size or views are not positive, or the splits do not add up to 1.
    """

    images: TFDSImages | Location
    """Where the images are: prepared by TFDS, or a folder of PNG and JPEG files as ``ImageFolder`` reads it."""
    prepared: Location
    """The folder of the squares."""
    size: int
    """Height and width of a square, in pixels."""
    views: int | None = None
    """Squares of each training image, drawn at random; None: one, its middle."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Of a folder, as in ``ImageFolder``."""

    def __post_init__(self):
        check_fractions(self.splits)
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")
        if self.views is not None and self.views < 1:
            raise ValueError(f"views must be at least 1, or None, got {self.views}")

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``.

        Raises:
            FileNotFoundError: The squares are not prepared.
            ValueError: They are of another size, or others were drawn.
        """
        folder, meta = self._folder(), self._meta()
        images = np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)
        return image_stream(images, f"{split} of squares of {meta['name']}")

    def labelled(self, split: Split) -> LabelledImages:
        """As ``load``, and the classes.

        Raises:
            ValueError: The images have none.
        """
        folder, meta = self._folder(), self._meta()
        if not meta["classes"]:
            raise ValueError(f"the images of {meta['name']} have no classes")
        labels = np.load(folder / f"{split}_labels.npy", allow_pickle=False)
        return labelled_stream(self.load(split), labels.tolist(), meta["classes"])

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        parts = [type(self).__name__.encode(), json.dumps(self._meta(), sort_keys=True).encode()]
        return hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest()

    def prepare(self, seen: Callable[[str, int, int], None] = lambda split, done, count: None) -> dict[str, int]:
        """Crops all images and writes the folder.

        Args:
            seen: Is told the split, how many of its images are done and how many it has.

        Returns:
            The number of squares of each split.

        Raises:
            FileExistsError: The folder holds squares already.
            FileNotFoundError: The images are not there.
        """
        folder = Path(self.prepared).expanduser()
        if (folder / _META).exists():
            raise FileExistsError(f"{folder} holds squares already: remove it, or name another folder as prepared")
        originals = {split: self._originals(split) for split in SPLITS}
        folder.mkdir(parents=True, exist_ok=True)
        counts = {split: self._write(folder, split, originals[split], seen) for split in SPLITS}
        train = originals["train"]
        meta = {"name": train.name, "classes": train.classes, "size": self.size, "views": self.views, "counts": counts}
        # Written last: without it the folder is not taken for whole.
        with replacing(folder / _META) as partial:
            partial.write_text(json.dumps(meta))
        return counts

    def _write(self, folder: Path, split: Split, originals: "_Originals", seen: Callable[..., None]) -> int:
        views = self.views or 1 if split == "train" else 1
        count = len(originals) * views
        labels = np.full(count, -1, np.int32)
        with replacing(folder / f"{split}.npy") as partial:
            squares = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, self.size, self.size, 3))
            for number, (views_of, label) in enumerate(self._cropped(split, originals, views)):
                squares[number * views : (number + 1) * views] = views_of
                labels[number * views : (number + 1) * views] = label
                seen(split, number + 1, len(originals))
            squares.flush()
        with replacing(folder / f"{split}_labels.npy") as partial, partial.open("wb") as opened:
            np.save(opened, labels)
        return count

    def _cropped(self, split: Split, originals: "_Originals", views: int) -> Iterator[tuple[np.ndarray, int]]:
        """The squares of every image, in order, and its class."""
        drawn = split == "train" and self.views is not None

        def one(number: int) -> tuple[np.ndarray, int]:
            image, label = originals.read(number)
            rngs = [np.random.default_rng((number, view)) if drawn else None for view in range(views)]
            return np.stack([square(image, crop(image.size, rng), self.size) for rng in rngs]), label

        # Decoding and scaling leave Python's lock. A window of images at a time bounds what is held.
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for begin in range(0, len(originals), 1024):
                yield from pool.map(one, range(begin, min(begin + 1024, len(originals))))

    def _originals(self, split: Split) -> "_Originals":
        if isinstance(self.images, TFDSImages):
            return _of_tfds(self.images, split)
        return _of_folder(self.images, self.splits, split)

    def _folder(self) -> Path:
        return require_folder(self.prepared, _REMEDY)

    def _meta(self) -> dict[str, Any]:
        meta = json.loads(read_file(require_file(self._folder() / _META, _REMEDY)))
        for name in ("size", "views"):
            if meta[name] != getattr(self, name):
                raise ValueError(
                    f"{self.prepared} was prepared with {name}={meta[name]}, and {name}={getattr(self, name)} is asked: "
                    "prepare another folder"
                )
        return meta


def crop(size: tuple[int, int], rng: np.random.Generator | None) -> Box:
    """The square of an image that is kept.

    Args:
        size: Width and height of the image.
        rng: Draws the square's side and place; None: the largest in the middle.
    """
    width, height = size
    shorter = min(size)
    if rng is None:
        side, left, upper = float(shorter), (width - shorter) / 2, (height - shorter) / 2
    else:
        side = shorter * _CROP / int(rng.integers(_SHORTER[0], _SHORTER[1] + 1))
        left, upper = rng.uniform(0, width - side), rng.uniform(0, height - side)
    return Box(left, upper, min(left + side, width), min(upper + side, height))


def square(image: Any, box: Box, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """A square of a Pillow image, scaled in one resampling, with Lanczos' filter."""
    return np.asarray(image.resize((size, size), pillow().Image.Resampling.LANCZOS, box=box))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Originals:
    """Images of a split at their own sizes."""

    count: int
    read: Callable[[int], tuple[Any, int]]
    """A Pillow image in red, green and blue, and its class, by number; -1: none."""
    classes: list[str]
    name: str

    def __len__(self) -> int:
        return self.count


def _of_tfds(images: TFDSImages, split: Split) -> _Originals:
    folder = prepared_folder(images.name, images.data_dir)
    records = open_records(folder, images.feature, images.split_names[SPLITS.index(split)])
    image = pillow().Image

    def read(number: int) -> tuple[Any, int]:
        record = records[number]
        return image.fromarray(np.squeeze(record[images.feature])).convert("RGB"), int(record.get("label", -1))

    classes = class_names(folder, "label") if "label" in records[0] else []
    return _Originals(count=len(records), read=read, classes=classes, name=images.name)


def _of_folder(path: Location, fractions: SplitFractions, split: Split) -> _Originals:
    folder = require_folder(path, "point CroppedImages(images=...) at a folder of PNG or JPEG files")
    files = list_files(folder, (".png", ".jpg", ".jpeg"))
    chosen = files_of_split(folder, files, fractions, split)
    classes = sorted({file.parent.name for file in files})
    read = lambda number: (open_image(chosen[number]), classes.index(chosen[number].parent.name))  # noqa: E731
    return _Originals(count=len(chosen), read=read, classes=classes, name=folder.name)
