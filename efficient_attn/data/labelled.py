"""Images whose classes are known, as a probe and a classifier read them."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8, UInt16

from efficient_attn.data.splits import Split


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledImages:
    """One split: the same images as tokens and as pixels, and their classes."""

    tokens: UInt8[np.ndarray, "count T"] | UInt16[np.ndarray, "count T"]
    """What a model reads: a token for each pixel, in raster order."""
    pixels: UInt8[np.ndarray, "count P"]
    """What the tokens stand for: brightness, or red, green and blue, of each pixel."""
    labels: Int32[np.ndarray, " count"]
    """Classes, from 0."""
    classes: tuple[str, ...]
    """Their names."""
    description: str
    """Exactly which data this is."""


@runtime_checkable
class LabelledSource(Protocol):
    """A source that knows the classes of its images."""

    def labelled(self, split: Split) -> LabelledImages:
        """Reads one split; errors as of ``Source.load``."""
        ...
