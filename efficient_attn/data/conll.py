"""Sentences whose words have tags, from files in columns as those of CoNLL-2003.

Reference:
  Tjong Kim Sang, De Meulder, "Introduction to the CoNLL-2003 Shared Task: Language-Independent Named Entity Recognition", 2003.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from efficient_attn.data.labelled_text import file_of_split, hash_files
from efficient_attn.data.source import Location, read_file
from efficient_attn.data.splits import Split
from efficient_attn.files import replacing

_REMEDY = "CoNLL(path=...) names a folder with files in columns, and files=... their names"
Words = tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TaggedSentences:
    """One split."""

    words: Sequence[Words]
    tags: Sequence[Words] | None
    """Of each word; None: they are not published."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.words)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoNLL:
    """A word on each line, its tag in a column behind it, and an empty line after each sentence."""

    path: Location
    """A folder with a file for each split."""
    files: tuple[str, str, str] = ("train.txt", "valid.txt", "test.txt")
    """Of training, validation and test."""
    column: int = -1
    """Of the tag; the word's is the first, 0. A test file of one column has no tags."""

    def load(self, split: Split) -> TaggedSentences:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        sentences = _sentences(file)
        columns = {len(row) for sentence in sentences for _, row in sentence}
        tagged = split != "test" or columns != {1}
        for line, row in (both for sentence in sentences for both in sentence):
            if tagged and (len(row) < 2 or not -len(row) <= self.column < len(row)):
                raise ValueError(f"{file} line {line} has no column {self.column} of tags: {' '.join(row)[:60]}")
        return TaggedSentences(
            words=[tuple(row[0] for _, row in sentence) for sentence in sentences],
            tags=[tuple(row[self.column] for _, row in sentence) for sentence in sentences] if tagged else None,
            description=f"{split} of {file.parent.name}: {len(sentences):,} sentences",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)


def write_tagged(path: Path, split: TaggedSentences, found: Sequence[Words]) -> None:
    """Writes words, their tags where these are published, and those found: what the task's scorer takes."""
    right = split.words if split.tags is None else split.tags
    lines = []
    for words, tags, said in zip(split.words, right, found, strict=True):
        columns = (words, said) if split.tags is None else (words, tags, said)
        lines += [f"{' '.join(row)}\n" for row in zip(*columns, strict=True)] + ["\n"]
    with replacing(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def _sentences(file: Path) -> list[list[tuple[int, list[str]]]]:
    """The columns of each word, with its line."""
    try:
        lines = read_file(file).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error}") from error
    found: list[list[tuple[int, list[str]]]] = [[]]
    for number, line in enumerate(lines, start=1):
        row = line.split()
        if not row or row[0] == "-DOCSTART-":
            found.append([])
        else:
            found[-1].append((number, row))
    sentences = [sentence for sentence in found if sentence]
    if not sentences:
        raise ValueError(f"{file} has no sentence")
    return sentences
