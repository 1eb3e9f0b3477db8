"""Handwritten digits as runs of grey levels: one token for a pixel, in raster order."""

import dataclasses

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.digit_files import digit_files, read_digits
from efficient_attn.data.labelled import LabelledImages
from efficient_attn.data.palette import Palette
from efficient_attn.data.source import Location, hash_identity
from efficient_attn.data.splits import Split
from efficient_attn.data.stream import TokenStream


@dataclasses.dataclass(frozen=True, kw_only=True)
class GreyDigits:
    """Digits of a folder, made smaller and of fewer levels of grey, with their classes.

    Raises:
        ValueError: 28 is no multiple of ``shrink``, or ``levels`` does not divide 256.
    """

    path: Location
    """As of ``PaddedDigits``."""
    shrink: int = 2
    """Pixels of the original, down and across, of which one pixel is the mean."""
    levels: int = 16
    """Levels of grey, which are the tokens; 0 is black."""

    def __post_init__(self):
        if self.shrink < 1 or 28 % self.shrink:
            raise ValueError(f"shrink must divide 28 pixels, got {self.shrink}")
        if self.levels < 2 or 256 % self.levels:
            raise ValueError(f"levels must divide 256, and be at least 2; got {self.levels}")

    @property
    def greys(self) -> Palette:
        """The middle of each level, as a colour."""
        middles = (np.arange(self.levels) * 256 + 128) // self.levels
        return Palette(np.repeat(middles[:, None] / 127.5 - 1.0, 3, axis=1).astype(np.float32))

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        images = self.labelled(split)
        return TokenStream(
            tokens=images.tokens.reshape(-1),
            vocab_size=self.levels,
            record_length=images.tokens.shape[1],
            image_shape=images.shape,
            unit="colour",
            description=images.description,
        )

    def labelled(self, split: Split) -> LabelledImages:
        """As ``load``, and the digits that the images are."""
        digits = read_digits(self.path, split)
        tokens = self._levels_of(digits.images)
        side = 28 // self.shrink
        return LabelledImages(
            tokens=tokens,
            vocab_size=self.levels,
            shape=(side, side),
            pixels=self.greys.restore(tokens.astype(np.uint16))[..., 0],
            labels=digits.labels.astype(np.int32),
            classes=tuple("0123456789"),
            description=f"{digits.description}, {side} x {side} in {self.levels} levels",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [(file.name, file.stat().st_size) for file in digit_files(self.path)])

    def _levels_of(self, images: UInt8[np.ndarray, "count 28 28"]) -> UInt8[np.ndarray, "count T"]:
        side = 28 // self.shrink
        means = images.reshape(len(images), side, self.shrink, side, self.shrink).mean((2, 4))
        return (means * self.levels // 256).astype(np.uint8).reshape(len(images), -1)
