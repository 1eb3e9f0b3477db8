"""Images as runs of palette colours: one token for a pixel, in raster order.

A pixel is the nearest of a few hundred colours, by squared distance in red, green and blue, of which the first is taken where two
are as near. Three bytes become one token of 9 bits, so that a sequence is three times shorter.

References:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, section 3.2 and released code.
"""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16

from efficient_attn.data.crops import CroppedImages
from efficient_attn.data.images import ImageArray, ImageFolder
from efficient_attn.data.labelled import LabelledImages
from efficient_attn.data.source import Location, read_file, require_file
from efficient_attn.data.splits import Split
from efficient_attn.data.stream import TokenStream
from efficient_attn.data.tfds import TFDSImages
from efficient_attn.files import replacing

_REMEDY = "write one with fit_palette(images).save(path), or take the released kmeans_centers.npy"
# Pixels that are compared with all colours at once.
_PIXELS = 1 << 16


@dataclasses.dataclass(frozen=True, eq=False)
class Palette:
    """Colours, and which of them pixels are.

    Raises:
        ValueError: The colours are not ``[count, 3]`` numbers in [-1, 1], or are none or more than 65,536.
    """

    colours: np.ndarray
    """``[count, 3]``: red, green and blue of each, where -1 is 0 of a byte and 1 is 255."""

    def __post_init__(self):
        x = self.colours
        if x.ndim != 2 or x.shape[1] != 3 or not 1 <= len(x) <= 1 << 16 or not np.all(np.abs(x) <= 1.0):
            raise ValueError(
                f"a palette is [count, 3] numbers in [-1, 1], got {list(x.shape)} from {x.min()} to {x.max()}"
            )

    def __len__(self) -> int:
        return len(self.colours)

    def quantise(self, images: UInt8[np.ndarray, "*shape 3"]) -> UInt16[np.ndarray, "*shape"]:
        """The index of each pixel's nearest colour.

        Cost: ``len(self)`` distances for each pixel.
        """
        pixels = images.reshape(-1, 3)
        # |x - c|^2 less |x|^2, which is the same for all colours.
        colours = self.colours.astype(np.float32)
        offsets = np.sum(colours**2, axis=1)
        tokens = np.empty(len(pixels), np.uint16)
        for begin in range(0, len(pixels), _PIXELS):
            some = pixels[begin : begin + _PIXELS].astype(np.float32) / 127.5 - 1.0
            tokens[begin : begin + _PIXELS] = np.argmin(offsets - 2.0 * some @ colours.T, axis=1)
        return tokens.reshape(images.shape[:-1])

    def restore(self, tokens: UInt16[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape 3"]:
        """The colours of tokens, as bytes."""
        return np.rint(127.5 * (self.colours + 1.0)).astype(np.uint8)[tokens]

    def save(self, file: Location) -> None:
        """Writes ``file``, a ``.npy`` as the released one."""
        with replacing(Path(file).expanduser()) as partial, partial.open("wb") as opened:
            np.save(opened, self.colours.astype(np.float32))


def load_palette(file: Location) -> Palette:
    """Reads the colours of a ``.npy``, such as the released ``kmeans_centers.npy``.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It holds no colours.
    """
    path = require_file(file, _REMEDY)
    try:
        colours = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is not a .npy file of numbers ({error}): {_REMEDY}") from error
    if colours.dtype.kind != "f":
        raise ValueError(f"{path} should hold numbers in [-1, 1], got {colours.dtype}: {_REMEDY}")
    return Palette(colours)


def fit_palette(
    images: UInt8[np.ndarray, "*shape 3"], *, colours: int = 512, pixels: int = 1_000_000, seed: int = 0
) -> Palette:
    """The means of clusters of pixels.

    Args:
        images: Whose pixels are clustered.
        colours: How many clusters.
        pixels: That many, drawn at random, are clustered; all, if they are fewer.
        seed: Randomness.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
        ValueError: There are fewer distinct pixels than colours.
    """
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "fitting a palette needs scikit-learn: pip install 'efficient-attn[probe]'"
        ) from error
    every = images.reshape(-1, 3)
    if len(every) > pixels:
        every = every[np.random.default_rng(seed).choice(len(every), pixels, replace=False)]
    distinct = len(np.unique(every, axis=0))
    if not 1 <= colours <= distinct:
        raise ValueError(f"colours must be in 1..{distinct}, the number of distinct pixels, got {colours}")
    means = MiniBatchKMeans(colours, batch_size=max(4096, colours), n_init=1, random_state=seed)
    centres = means.fit(every.astype(np.float32) / 127.5 - 1.0).cluster_centers_
    return Palette(np.clip(centres, -1.0, 1.0).astype(np.float32))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaletteImages:
    """Images of another source, in the colours of a palette: height * width tokens for each."""

    images: ImageArray | ImageFolder | TFDSImages | CroppedImages
    """Where the images come from."""
    palette: Location
    """The ``.npy`` file of ``Palette.save``, or the released one."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        palette, stream = load_palette(self.palette), self.images.load(split)
        return TokenStream(
            tokens=palette.quantise(stream.tokens.reshape(-1, 3)),
            vocab_size=len(palette),
            record_length=stream.record_length // 3,
            image_shape=stream.image_shape[:2],
            unit="colour",
            description=f"{stream.description} in {len(palette)} colours",
        )

    def labelled(self, split: Split) -> LabelledImages:
        """Reads one split with its classes, of which the pixels are those of the palette; errors as of ``Source.load``.

        Raises:
            ValueError: The images have no labels: those of an ``ImageArray`` have none.
        """
        if isinstance(self.images, ImageArray):
            raise ValueError("an ImageArray has no labels: images of an ImageFolder, TFDSImages or CroppedImages have")
        images, palette = self.images.labelled(split), load_palette(self.palette)
        tokens = palette.quantise(images.tokens.reshape(len(images.labels), -1, 3))
        return dataclasses.replace(
            images,
            tokens=tokens,
            vocab_size=len(palette),
            shape=images.shape[:2],
            pixels=palette.restore(tokens).reshape(len(tokens), -1),
            description=f"{images.description}, in {len(palette)} colours",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        colours = read_file(require_file(self.palette, _REMEDY))
        parts = [type(self).__name__.encode(), self.images.fingerprint().encode(), colours]
        return hashlib.blake2b(b"\0".join(parts), digest_size=8).hexdigest()
