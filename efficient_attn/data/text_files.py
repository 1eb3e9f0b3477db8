"""Text of one's own: a file, or a folder of files, read as bytes."""

import dataclasses
from pathlib import Path

import numpy as np

from efficient_attn.data.source import (
    Location,
    files_of_split,
    hash_identity,
    list_files,
    map_file,
    read_file,
    require_file,
    sizes_of_files,
)
from efficient_attn.data.splits import Split, SplitFractions, check_fractions, split_by_position
from efficient_attn.data.stream import TokenStream

_REMEDY = "point TextFiles(path=...) at a file of text, or at a folder of such files"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextFiles:
    """Text files as bytes: one file is cut by position, the files of a folder are distributed by name.

    Raises:
        ValueError: The splits do not add up to 1, or no suffix is given.
    """

    path: Location
    """A file, or a folder that is searched at any depth."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Shares of train, validation and test: of the bytes of a file, of the number of files in a folder."""
    suffixes: tuple[str, ...] = (".txt",)
    """Which files of a folder are read; a single file may have any name."""

    def __post_init__(self):
        check_fractions(self.splits)
        if not all(self.suffixes) or not self.suffixes:
            raise ValueError(f"suffixes must name at least one file ending such as '.txt', got {self.suffixes}")

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        path = self._existing()
        return self._load_folder(path, split) if path.is_dir() else self._load_file(path, split)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        path = self._existing()
        sizes = sizes_of_files(path, list_files(path, self.suffixes)) if path.is_dir() else [("", path.stat().st_size)]
        return hash_identity(self, sizes)

    def _existing(self) -> Path:
        path = Path(self.path).expanduser()
        return path if path.is_dir() else require_file(path, _REMEDY)

    def _load_file(self, file: Path, split: Split) -> TokenStream:
        text = map_file(file)
        tokens = text[split_by_position(len(text), self.splits)[split]]
        if not len(tokens):
            raise ValueError(f"no byte of {file} falls to {split!r}: it has {len(text)}, splits are {self.splits}")
        return TokenStream(tokens=tokens, description=f"{split} of {file.name}: {len(tokens):,} of {len(text):,} bytes")

    def _load_folder(self, folder: Path, split: Split) -> TokenStream:
        files = files_of_split(folder, list_files(folder, self.suffixes), self.splits, split)
        tokens = np.frombuffer(b"".join(map(read_file, files)), np.uint8)
        return TokenStream(
            tokens=tokens, description=f"{split} of folder {folder.name}: {len(files):,} files, {len(tokens):,} bytes"
        )
