"""What tokens are to a person: text, an image or a sound; how a prompt of that kind is read and samples are written."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data import AudioFiles, ImageArray, ImageFolder, TFDSImages
from efficient_attn.data.audio import read_sound, write_wav
from efficient_attn.data.images import read_image, write_png
from efficient_attn.data.source import read_file
from efficient_attn.experiment import Experiment


@runtime_checkable
class Medium(Protocol):
    """One kind of tokens."""

    share: float
    """Of a prompt file, the share that is given where none is named."""
    length: int
    """Tokens of a sample where no number is named."""
    suffixes: Sequence[str]
    """Endings of files that samples are written to."""

    def read(self, file: Path) -> UInt8[np.ndarray, " P"]:
        """The tokens of a file."""
        ...

    def write(self, file: Path | None, samples: UInt8[np.ndarray, "B L"]) -> None:
        """Writes samples; None: to standard output."""
        ...


class Text:
    """Bytes."""

    share, length, suffixes = 1.0, 400, ("", ".txt")

    def read(self, file: Path) -> UInt8[np.ndarray, " P"]:
        """The file's bytes."""
        return np.frombuffer(read_file(file), np.uint8)

    def write(self, file: Path | None, samples: UInt8[np.ndarray, "B L"]) -> None:
        """One text after the other."""
        text = b"".join(sample.tobytes() + b"\n" for sample in samples)
        if file is None:
            sys.stdout.buffer.write(text)
        else:
            file.write_bytes(text)


class Images:
    """Runs of ``height * width * 3`` colours."""

    share, suffixes = 0.5, (".png",)

    def __init__(self, context: int, shape: tuple[int, int] | None):
        side = math.isqrt(context // 3)
        self.shape = (side, side) if shape is None else shape
        self.length = math.prod(self.shape) * 3
        if shape is None and self.length != context:
            raise ValueError(
                f"a context of {context} tokens is not one square image: say its height and width by --shape"
            )

    def read(self, file: Path) -> UInt8[np.ndarray, " P"]:
        """The file's image, scaled and cropped to the model's size."""
        return read_image(file, *self.shape).reshape(-1)

    def write(self, file: Path | None, samples: UInt8[np.ndarray, "B L"]) -> None:
        """A grid. A sample that was stopped early is black below."""
        whole = np.zeros((len(samples), self.length), np.uint8)
        whole[:, : samples.shape[1]] = samples[:, : self.length]
        write_png(file, whole.reshape(-1, *self.shape, 3))


class Sound:
    """Mu-law samples."""

    share, suffixes = 1.0, (".wav",)

    def __init__(self, context: int, rate: int):
        if rate < 1:
            raise ValueError(f"rate must be at least 1 sample per second, got {rate}")
        self.length, self.rate = context, rate

    def read(self, file: Path) -> UInt8[np.ndarray, " P"]:
        """The file's samples, at the rate that they have."""
        return read_sound(file)

    def write(self, file: Path | None, samples: UInt8[np.ndarray, "B L"]) -> None:
        """``name.wav``; several are ``name-0.wav``, ``name-1.wav``, ..."""
        names = [file] if len(samples) == 1 else [file.with_stem(f"{file.stem}-{i}") for i in range(len(samples))]
        for name, sample in zip(names, samples, strict=True):
            write_wav(name, sample, self.rate)


def medium_of(config: Experiment, shape: tuple[int, int] | None, rate: int) -> Medium:
    """The kind of tokens that a model was trained on.

    Args:
      config: the experiment.
      shape: height and width of images; None: square.
      rate: samples of sound per second.
    """
    if isinstance(config.source, ImageArray | ImageFolder | TFDSImages):
        return Images(config.context, shape)
    return Sound(config.context, rate) if isinstance(config.source, AudioFiles) else Text()
