"""Images whose classes are known, as a probe and a classifier read them."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int, Int32, UInt8, UInt16

from efficient_attn.data.batches import Batch
from efficient_attn.data.splits import Split
from efficient_attn.data.stream import TokenStream


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """One split: the same images as tokens and as pixels, and their classes."""

    tokens: UInt8[np.ndarray, "count T"] | UInt16[np.ndarray, "count T"]
    """What a model reads, in raster order: a token for each pixel, or for its red, its green and its blue."""
    vocab_size: int
    """Number of different tokens that may occur."""
    shape: tuple[int, ...]
    """Of the tokens of an image: height and width, and 3 where a pixel has so many."""
    pixels: UInt8[np.ndarray, "count P"]
    """What the tokens stand for: brightness, or red, green and blue, of each pixel."""
    labels: Int32[np.ndarray, " count"]
    """Classes, from 0."""
    classes: tuple[str, ...]
    """Their names."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """These images: ``tokens`` int32 [B, T], all ``valid``, and ``targets`` int32 [B], their classes."""
        tokens = self.tokens[rows].astype(np.int32)
        return {"tokens": tokens, "valid": np.ones(tokens.shape, bool), "targets": self.labels[rows]}


def labelled_stream(stream: TokenStream, labels: Sequence[int], classes: Sequence[str]) -> LabelledImages:
    """The images of a stream of channels of pixels, one after the other, with the class of each."""
    pixels = stream.tokens.reshape(len(labels), -1)
    return LabelledImages(
        tokens=pixels,
        vocab_size=stream.vocab_size,
        shape=stream.image_shape,
        pixels=pixels,
        labels=np.array(labels, np.int32),
        classes=tuple(classes),
        description=f"{stream.description} in {len(classes)} classes",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageClasses:
    """Images of a source with their classes, which a classifier learns."""

    images: "LabelledSource"
    """Where the images come from: ``ImageFolder``, ``TFDSImages``, ``CroppedImages``, ``PaletteImages`` of these, or
    ``GreyDigits``."""
    per_class: int | None = None
    """Training images of each class, drawn at random, and no others; None: all."""

    def __post_init__(self):
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(f"per_class must be at least 1, or None, got {self.per_class}")

    def load(self, split: Split) -> LabelledImages:
        """Reads one split; errors as of ``Source.load``.

        Raises:
            ValueError: A class has too few training images.
        """
        images = self.images.labelled(split)
        return images if self.per_class is None or split != "train" else some_of_each(images, self.per_class)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        identity = self.images.fingerprint()
        return identity if self.per_class is None else f"{identity}, {self.per_class} of each class"


def some_of_each(images: LabelledImages, count: int, seed: int = 0) -> LabelledImages:
    """So many images of each class, in their order.

    Args:
        images: All.
        count: Of each class.
        seed: Which ones.

    Raises:
        ValueError: A class has fewer.
    """
    rows = [np.flatnonzero(images.labels == label) for label in range(len(images.classes))]
    for name, own in zip(images.classes, rows, strict=True):
        if len(own) < count:
            raise ValueError(f"class {name!r} has {len(own)} images, and per_class={count} of each are asked")
    rng = np.random.default_rng(seed)
    chosen = np.sort(np.concatenate([rng.choice(own, count, replace=False) for own in rows]))
    return dataclasses.replace(
        images,
        tokens=images.tokens[chosen],
        pixels=images.pixels[chosen],
        labels=images.labels[chosen],
        description=f"{count} of each class of {images.description}",
    )


@runtime_checkable
class LabelledSource(Protocol):
    """A source that knows the classes of its images."""

    def labelled(self, split: Split) -> LabelledImages:
        """Reads one split; errors as of ``Source.load``."""
        ...

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        ...
