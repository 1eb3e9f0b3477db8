"""The Python interpreter's own standard library: real text that every machine has, for tests and first runs.

Its contents follow the interpreter's version, so results are comparable between runs on one version only.
"""

import dataclasses
import os
import platform
import sysconfig
from pathlib import Path

import numpy as np

from efficient_attn.data.source import assign_files, hash_identity, read_file, sizes_of_files
from efficient_attn.data.splits import Split, SplitFractions, check_fractions
from efficient_attn.data.stream import TokenStream

# Installed packages are not the library; the rest is generated tables, and `lib2to3` keeps sources in odd encodings.
_EXCLUDED_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__", "encodings", "pydoc_data", "lib2to3"})
# Written when the interpreter is built: paths and compiler flags of one machine.
_EXCLUDED_PREFIX = "_sysconfigdata"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardLibrary:
    """The ``*.py`` files of the running interpreter's standard library, its tests included, as bytes.

    Files are distributed over the splits by a hash of their relative path, and repeated contents are dropped, so
    no file stands in two splits.

    Raises:
        ValueError: The splits do not add up to 1.
    """

    splits: SplitFractions = (0.8, 0.1, 0.1)
    """Shares of train, validation and test, of the number of files."""

    def __post_init__(self):
        check_fractions(self.splits)

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        files = self.files()[split]
        if not files:
            raise ValueError(f"no file of the standard library falls to {split!r} with splits {self.splits}")
        tokens = np.frombuffer(b"".join(map(read_file, files)), np.uint8)
        origin = f"{split} of the Python {platform.python_version()} standard library"
        return TokenStream(tokens=tokens, description=f"{origin}: {len(files):,} files, {len(tokens):,} bytes")

    def files(self) -> dict[Split, list[Path]]:
        """Lists the exact files of each split.

        Raises:
            ValueError: This interpreter comes without the sources of its library.
        """
        root = _root()
        return assign_files(root, _sources(root), self.splits)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        root = _root()
        return hash_identity(self, sizes_of_files(root, _sources(root)))


def _root() -> Path:
    return Path(sysconfig.get_paths()["stdlib"])


def _sources(root: Path) -> list[Path]:
    files = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _EXCLUDED_FOLDERS]
        files += [Path(folder, name) for name in names if name.endswith(".py")]
    files = sorted(file for file in files if not file.name.startswith(_EXCLUDED_PREFIX) and _is_utf8(file))
    if not files:
        raise ValueError(f"no Python sources in {root}: this interpreter comes without them, use TextFiles instead")
    return files


def _is_utf8(path: Path) -> bool:
    # The tests contain sources in other encodings, and broken ones, on purpose.
    try:
        read_file(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
