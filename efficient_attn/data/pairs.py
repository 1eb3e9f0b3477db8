"""Sentences and their translations, line by line: parallel text of one's own."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from efficient_attn.data.source import Location, hash_identity, map_file, require_file, require_folder
from efficient_attn.data.splits import SPLITS, Split

_REMEDY = (
    "a folder of parallel text has train, validation and test files of both languages, as train.en and train.de, in which "
    "line n of one translates line n of the other"
)
_NEWLINE = ord("\n")
# Bounds the memory that looking for the ends of lines takes.
_SCAN_BYTES = 1 << 24


class Lines(Sequence[str]):
    """The lines of a text in UTF-8, decoded when they are asked for.

    Only a line feed ends a line: what else Unicode calls a line break may stand within a sentence, where it must not shift
    the lines after it against those of the other language.

    Args:
        text: Its bytes, which may be mapped from a file; the last line may lack its end.
        name: What an error calls it.
    """

    def __init__(self, text: UInt8[np.ndarray, " bytes"], name: str):
        self.name, self._text = name, text
        parts = range(0, len(self._text), _SCAN_BYTES)
        ends = [np.flatnonzero(self._text[begin : begin + _SCAN_BYTES] == _NEWLINE) + begin for begin in parts]
        last = [len(self._text)] if len(self._text) and self._text[-1] != _NEWLINE else []
        self._ends = np.concatenate([*ends, np.array(last, np.int64)])

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, line: int) -> str:
        line = range(len(self))[line]
        begin = int(self._ends[line - 1]) + 1 if line else 0
        try:
            return self._text[begin : int(self._ends[line])].tobytes().decode().removesuffix("\r")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {line + 1} of {self.name} is not UTF-8: {error.reason}") from error


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """One split: sentences and, at the same places, their translations."""

    source: Sequence[str]
    target: Sequence[str]
    description: str
    """Exactly which data this is."""
    language: str = "en"
    """Of the targets."""

    def __post_init__(self):
        if len(self.source) != len(self.target) or not len(self.source):
            raise ValueError(
                f"there must be a translation for each sentence, and some; got {len(self.source):,} sentences and "
                f"{len(self.target):,} translations: {self.description}"
            )

    def __len__(self) -> int:
        return len(self.source)


class PairSource(Protocol):
    """Where parallel text comes from: a frozen record of fields that reads nothing until it is asked."""

    def load(self, split: Split) -> Pairs:
        """Reads one split; errors as of ``Source.load``."""
        ...

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParallelText:
    """Files of one sentence a line, ``train.en`` beside ``train.de``, and so for ``validation`` and ``test``.

    Raises:
        ValueError: The languages are not two different endings.
    """

    path: Location
    """The folder."""
    languages: tuple[str, str] = ("en", "de")
    """What is translated, and into what: the endings of the files' names."""

    def __post_init__(self):
        check_languages(self.languages)

    def load(self, split: Split) -> Pairs:
        """Reads one split; see ``Source.load``."""
        source, target = (Lines(map_file(file), str(file)) for file in self._files(split))
        what = f"{split} of {Path(self.path).name}, {' to '.join(self.languages)}"
        if len(source) != len(target):
            raise ValueError(f"{source.name} has {len(source):,} lines and {target.name} {len(target):,}: {_REMEDY}")
        return Pairs(
            source=source, target=target, description=f"{what}: {len(source):,} pairs", language=self.languages[1]
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [(f.name, f.stat().st_size) for split in SPLITS for f in self._files(split)])

    def _files(self, split: Split) -> list[Path]:
        folder = require_folder(self.path, _REMEDY)
        return [require_file(folder / f"{split}.{language}", _REMEDY) for language in self.languages]


def check_languages(languages: tuple[str, str]) -> None:
    """A ValueError unless they are two different names."""
    if not all(languages) or languages[0] == languages[1]:
        raise ValueError(f"languages must be two different ones, such as ('en', 'de'); got {languages}")
