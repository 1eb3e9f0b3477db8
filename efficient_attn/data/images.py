"""Images as runs of 8-bit tokens: height * width * 3 in raster order, the colour channel fastest.

Equal images fall to the same split, because the split is chosen by a hash of the pixels or of the file.
"""

import dataclasses
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.labelled import LabelledImages, labelled_stream
from efficient_attn.data.source import (
    Location,
    files_of_split,
    hash_identity,
    list_files,
    read_file,
    require_file,
    require_folder,
    sizes_of_files,
)
from efficient_attn.data.splits import Split, SplitFractions, check_fractions, split_by_hash
from efficient_attn.data.stream import TokenStream

_ARRAY_REMEDY = "numpy.save the images as uint8 [count, height, width, 3] and point ImageArray(path=...) at the file"
# White pixels between the images of a grid.
_GAP = 2
_FOLDER_REMEDY = "point ImageFolder(path=...) at a folder of PNG or JPEG files"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageArray:
    """Images in one ``.npy`` file, uint8 ``[count, height, width, 3]``.

    Raises:
        ValueError: The splits do not add up to 1.
    """

    path: Location
    """The ``.npy`` file; it is mapped into memory, and one split of it is copied."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Shares of train, validation and test, of the number of images."""

    def __post_init__(self):
        check_fractions(self.splits)

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        file, images = self._file(), self._images()
        chosen = [i for i, image in enumerate(images) if split_by_hash(image.tobytes(), self.splits) == split]
        if not chosen:
            raise ValueError(f"no image of {file} falls to {split!r}: it has {len(images)}, splits are {self.splits}")
        return image_stream(images[chosen], f"{split} of {file.name}")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [(str(self._images().shape), self._file().stat().st_size)])

    def _file(self) -> Path:
        return require_file(self.path, _ARRAY_REMEDY)

    def _images(self) -> np.ndarray:
        file = self._file()
        try:
            images = np.lib.format.open_memmap(file, mode="r")
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is not a .npy file of numbers ({error}): {_ARRAY_REMEDY}") from error
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            found = f"{images.dtype} {list(images.shape)}"
            raise ValueError(f"{file} should be uint8 [count, height, width, 3], got {found}: {_ARRAY_REMEDY}")
        return images


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageFolder:
    """PNG and JPEG files under a folder, each scaled so that its shorter side fits and cropped to the middle square.

    Raises:
        ValueError: The splits do not add up to 1, or the size is not positive.
    """

    path: Location
    """The folder; it is searched at any depth. The folder that holds a file names the class of its image."""
    size: int
    """Height and width of the square images, in pixels."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Shares of train, validation and test, of the number of files; files that all lie in folders of these names are split so."""

    def __post_init__(self):
        check_fractions(self.splits)
        if self.size < 1:
            raise ValueError(f"size must be at least 1 pixel, got {self.size}")

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``.

        Raises:
            ModuleNotFoundError: Pillow is not installed.
        """
        folder, files = self._files()
        return self._stream(folder, files_of_split(folder, files, self.splits, split), split)

    def labelled(self, split: Split) -> LabelledImages:
        """As ``load``, and the classes: the names of the folders that hold files, of all splits, in alphabetical order."""
        folder, files = self._files()
        chosen = files_of_split(folder, files, self.splits, split)
        names = sorted({file.parent.name for file in files})
        return labelled_stream(
            self._stream(folder, chosen, split), [names.index(file.parent.name) for file in chosen], names
        )

    def _stream(self, folder: Path, files: Sequence[Path], split: Split) -> TokenStream:
        images = [read_image(file, self.size, self.size) for file in files]
        return image_stream(np.stack(images), f"{split} of folder {folder.name}")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, sizes_of_files(*self._files()))

    def _files(self) -> tuple[Path, list[Path]]:
        folder = require_folder(self.path, _FOLDER_REMEDY)
        return folder, list_files(folder, (".png", ".jpg", ".jpeg"))


def image_stream(images: UInt8[np.ndarray, "count height width 3"], origin: str) -> TokenStream:
    """A stream of all channels of all pixels of images."""
    count, height, width, _ = images.shape
    return TokenStream(
        tokens=images.reshape(-1),
        record_length=height * width * 3,
        image_shape=(height, width, 3),
        unit="pixel",
        description=f"{origin}: {count:,} images of {height}x{width}x3",
    )


def open_image(file: Path) -> Any:
    """A PNG or JPEG as a Pillow image in red, green and blue.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
        ValueError: The file is not an image.
    """
    try:
        with pillow().Image.open(io.BytesIO(read_file(file))) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{file} is not a readable image: {error}") from error


def read_image(file: Path, height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """A PNG or JPEG, scaled and cropped in the middle to a size; errors as of ``open_image``."""
    image, pil = open_image(file), pillow()
    return np.asarray(pil.ImageOps.fit(image, (width, height), pil.Image.Resampling.LANCZOS))


def write_png(
    file: Path, images: UInt8[np.ndarray, "count height width 3"], columns: int | None = None, zoom: int = 1
) -> None:
    """Writes images in a grid, two white pixels apart.

    Args:
        file: The PNG.
        images: Row after row.
        columns: Images in a row; None: the grid is about as high as wide.
        zoom: Pixels down and across for each pixel of an image.

    Raises:
        ModuleNotFoundError: Pillow is not installed.
    """
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width, _ = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    down, across = height + _GAP, width + _GAP
    grid = np.full((math.ceil(count / columns) * down - _GAP, columns * across - _GAP, 3), 255, np.uint8)
    for i, image in enumerate(images):
        row, column = divmod(i, columns)
        grid[row * down : row * down + height, column * across : column * across + width] = image
    pillow().Image.fromarray(grid).save(file)


def pillow() -> Any:
    """The modules of Pillow.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("image files need Pillow: pip install 'efficient-attn[images]'") from error
    return PIL
