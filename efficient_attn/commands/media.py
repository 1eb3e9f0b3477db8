"""What tokens are to a person: text, an image or a sound; how a prompt of that kind is read and samples are written."""

import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8, UInt16, UInt32

from efficient_attn.data import (
    AudioFiles,
    CroppedImages,
    GreyDigits,
    ImageArray,
    ImageFolder,
    Palette,
    PaletteImages,
    TFDSImages,
    TokenizedText,
    Words,
    load_palette,
)
from efficient_attn.data.audio import read_sound, write_wav
from efficient_attn.data.images import read_image, write_png
from efficient_attn.data.source import read_file
from efficient_attn.experiment import Experiment

Tokens = UInt8[np.ndarray, " P"] | UInt16[np.ndarray, " P"] | UInt32[np.ndarray, " P"]
Samples = UInt8[np.ndarray, "B L"] | UInt16[np.ndarray, "B L"] | UInt32[np.ndarray, "B L"]
Records = UInt8[np.ndarray, "count R"] | UInt16[np.ndarray, "count R"] | UInt32[np.ndarray, "count R"]


@runtime_checkable
class Medium(Protocol):
    """One kind of tokens."""

    share: float
    """Of a prompt file, the share that is given where none is named."""
    length: int
    """Tokens of a sample where no number is named."""
    suffixes: Sequence[str]
    """Endings of files that samples are written to."""

    def read(self, file: Path) -> Tokens:
        """The tokens of a file."""
        ...

    def write(self, file: Path | None, samples: Samples) -> None:
        """Writes samples; None: to standard output."""
        ...


# How many pixels of a training split are compared with samples at once.
_COMPARED = 1 << 24


class Text:
    """Bytes."""

    share, length, suffixes = 1.0, 400, ("", ".txt")

    def read(self, file: Path) -> UInt8[np.ndarray, " P"]:
        """The file's bytes."""
        return np.frombuffer(read_file(file), np.uint8)

    def write(self, file: Path | None, samples: UInt8[np.ndarray, "B L"]) -> None:
        """One text after the other."""
        _write_texts(file, (sample.tobytes() for sample in samples))


class Sentences:
    """Words, or pieces of words."""

    share, length, suffixes = 1.0, 100, ("", ".txt")

    def __init__(self, source: Words | TokenizedText):
        self.source = source

    def read(self, file: Path) -> Tokens:
        """The words of the file."""
        return self.words(np.frombuffer(read_file(file), np.uint8))

    def words(self, text: UInt8[np.ndarray, " P"]) -> Tokens:
        """The words of a text, whose last line may go on."""
        return self.source.prompt(text).astype(np.uint32)

    def write(self, file: Path | None, samples: Samples) -> None:
        """One text after the other."""
        _write_texts(file, map(self.source.written, samples))


class Images:
    """Runs of ``height * width * 3`` channels of colours, or of ``height * width`` colours of a palette."""

    share, suffixes = 0.5, (".png",)

    def __init__(self, context: int, shape: tuple[int, int] | None, palette: Palette | None = None):
        each = 3 if palette is None else 1
        side = math.isqrt(context // each)
        self.shape = (side, side) if shape is None else shape
        self.length, self.palette = math.prod(self.shape) * each, palette
        if shape is None and self.length != context:
            raise ValueError(
                f"a context of {context} tokens is not one square image: say its height and width by --shape"
            )

    def read(self, file: Path) -> Tokens:
        """The file's image, scaled and cropped to the model's size."""
        image = read_image(file, *self.shape)
        return (image if self.palette is None else self.palette.quantise(image)).reshape(-1)

    def write(self, file: Path | None, samples: Samples) -> None:
        """A grid. A sample that was stopped early is black below."""
        self.write_beside(file, [samples], 1)

    def write_beside(self, file: Path | None, columns: Sequence[np.ndarray], zoom: int) -> None:
        """A row for the first of each of ``columns``, one for the second, ...; of one column, a grid.

        Each column is ``Samples`` with a length of its own.
        """
        cells = np.stack([self._whole(samples) for samples in columns], axis=1)
        write_png(file, cells.reshape(-1, *self.shape, 3), len(columns) if len(columns) > 1 else None, zoom)

    def nearest(self, samples: Samples, images: Records) -> Samples:
        """Of each sample the image whose colours are the nearest, by squared distance."""
        wanted = self._whole(samples).astype(np.float32)
        best, found = np.full(len(samples), np.inf, np.float32), np.zeros(len(samples), np.int64)
        step = max(1, _COMPARED // wanted.shape[1])
        for begin in range(0, len(images), step):
            others = self._whole(images[begin : begin + step]).astype(np.float32)
            # |a - b|^2 less |a|^2, which is the same for all images.
            distances = np.sum(others**2, axis=1) - 2.0 * wanted @ others.T
            place, least = np.argmin(distances, axis=1), np.min(distances, axis=1)
            found = np.where(least < best, begin + place, found)
            best = np.minimum(best, least)
        return images[found]

    def _whole(self, samples: Samples) -> UInt8[np.ndarray, "B C"]:
        channels = self._channels(samples[:, : self.length])
        whole = np.zeros((len(samples), math.prod(self.shape) * 3), np.uint8)
        whole[:, : channels.shape[1]] = channels
        return whole

    def _channels(self, samples: Samples) -> UInt8[np.ndarray, "B C"]:
        """Red, green and blue of what was drawn."""
        if self.palette is None:
            return samples
        return self.palette.restore(samples.astype(np.uint16)).reshape(len(samples), -1)


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


def _write_texts(file: Path | None, texts: Iterable[bytes]) -> None:
    text = b"".join(text + b"\n" for text in texts)
    if file is None:
        sys.stdout.buffer.write(text)
    else:
        file.write_bytes(text)


def medium_of(config: Experiment, shape: tuple[int, int] | None, rate: int) -> Medium:
    """The kind of tokens that a model was trained on.

    Args:
      config: the experiment.
      shape: height and width of images; None: square.
      rate: samples of sound per second.
    """
    if isinstance(config.source, ImageArray | ImageFolder | CroppedImages | TFDSImages):
        return Images(config.context, shape)
    if isinstance(config.source, PaletteImages):
        return Images(config.context, shape, load_palette(config.source.palette))
    if isinstance(config.source, GreyDigits):
        return Images(config.context, shape, config.source.greys)
    if isinstance(config.source, Words | TokenizedText):
        return Sentences(config.source)
    return Sound(config.context, rate) if isinstance(config.source, AudioFiles) else Text()
