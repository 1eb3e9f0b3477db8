"""A small excerpt of the English Wikipedia dump, in the format of enwik8 and beginning with the same articles.

It ships inside the wheel of ``gensim`` (LGPL-2.1; the text is CC BY-SA): 206 pages, 6,089,746 bytes of MediaWiki XML,
about a sixteenth of enwik8. Bits per byte on it are not comparable with published numbers on enwik8.
"""

import bz2
import dataclasses
import importlib.util
from pathlib import Path

import numpy as np

from efficient_attn.data.source import Location, hash_identity, read_file, require_file
from efficient_attn.data.splits import Split, SplitFractions, check_fractions, split_by_position
from efficient_attn.data.stream import TokenStream

_PATTERN = "enwiki-latest-pages-articles1*.bz2"
_FOLDER_IN_PACKAGE = Path("test", "test_data")
_REMEDY = (
    "`pip download --no-deps gensim==4.4.0`, unzip the wheel, and point WikipediaExcerpt(path=...) at its "
    f"gensim/test/test_data/{_PATTERN}, or install gensim"
)
_FIRST_BYTES = b"<mediawiki"


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikipediaExcerpt:
    """MediaWiki XML as bytes, cut by position like enwik8.

    Raises:
        ValueError: The splits do not add up to 1.
    """

    path: Location | None = None
    """A ``.bz2`` or ``.xml`` file, or a folder that holds gensim's; None looks in an installed gensim."""
    splits: SplitFractions = (0.9, 0.05, 0.05)
    """Shares of train, validation and test, of the bytes."""

    def __post_init__(self):
        check_fractions(self.splits)

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        file = self._file()
        text = _read_xml(file)
        tokens = np.frombuffer(text, np.uint8)[split_by_position(len(text), self.splits)[split]]
        if not len(tokens):
            raise ValueError(f"no byte of {file} falls to {split!r}: it has {len(text)}, splits are {self.splits}")
        return TokenStream(
            tokens=tokens,
            description=f"{split} of the Wikipedia excerpt {file.name}: {len(tokens):,} of {len(text):,} bytes",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [("", len(_read_xml(self._file())))])

    def _file(self) -> Path:
        if self.path is None:
            return _file_in_gensim()
        path = Path(self.path).expanduser()
        return _only_match(path) if path.is_dir() else require_file(path, _REMEDY)


def _file_in_gensim() -> Path:
    # Finding the package does not import it: gensim takes seconds to import, and only its data is wanted.
    spec = importlib.util.find_spec("gensim")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"no Wikipedia excerpt: {_REMEDY}")
    return _only_match(Path(spec.submodule_search_locations[0]) / _FOLDER_IN_PACKAGE)


def _only_match(folder: Path) -> Path:
    matches = sorted(folder.glob(_PATTERN))
    if len(matches) != 1:
        raise FileNotFoundError(f"expected one {_PATTERN} in {folder}, found {len(matches)}: {_REMEDY}")
    return matches[0]


def _read_xml(file: Path) -> bytes:
    content = read_file(file)
    if file.suffix == ".bz2":
        try:
            content = bz2.decompress(content)
        except (OSError, ValueError) as error:
            raise ValueError(f"{file} is not a complete bzip2 file ({error}): {_REMEDY}") from error
    if not content.startswith(_FIRST_BYTES):
        raise ValueError(f"{file} should begin with {_FIRST_BYTES.decode()!r}, but begins with {content[:16]!r}")
    return content
