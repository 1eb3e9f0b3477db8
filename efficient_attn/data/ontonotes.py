"""Documents in which what speaks of the same thing is marked, from files as those of CoNLL-2012: OntoNotes.

Reference:
  Pradhan, Moschitti, Xue, Uryupina, Zhang, "CoNLL-2012 Shared Task: Modeling Multilingual Unrestricted Coreference in OntoNotes",
  2012.
"""

import collections
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from efficient_attn.data.labelled_text import file_of_split, hash_files
from efficient_attn.data.source import Location, read_file
from efficient_attn.data.splits import Split
from efficient_attn.files import replacing

Mention = tuple[int, int]
"""The first and the last word, counted from 0 in the document."""
Cluster = tuple[Mention, ...]
"""Mentions of the same thing."""

_REMEDY = (
    "OntoNotes(path=...) names a folder with files in the format of CoNLL-2012, as train.english.v4_gold_conll, and "
    "files=... their names"
)
_BEGIN = re.compile(r"#begin document \((.+)\); part (\d+)")
_MENTION = re.compile(r"(\()?(\d+)(\))?")
# Of a word's columns there are at least twelve; these are its own and the speaker's, and the last are the brackets of mentions.
_COLUMNS, _WORD, _SPEAKER = 12, 3, 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoreferenceDocument:
    """A part of a document, which is resolved by itself."""

    name: str
    """As ``"bc/cctv/00/cctv_0000"``."""
    part: str
    """As ``"000"``."""
    words: tuple[str, ...]
    speakers: tuple[str, ...]
    """Of each word; ``"-"``: it is not known."""
    sentences: tuple[int, ...]
    """Of each word, counted from 0."""
    clusters: tuple[Cluster, ...]
    """In the order of their first mentions."""

    @property
    def genre(self) -> str:
        """What kind of document it is: the first part of its name."""
        return self.name.split("/")[0]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CoreferenceDocuments:
    """One split."""

    documents: Sequence[CoreferenceDocument]
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.documents)

    @property
    def labelled(self) -> bool:
        """Whether mentions are published."""
        return any(document.clusters for document in self.documents)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OntoNotes:
    """Files in the format of CoNLL-2012: a word a line, an empty line after each sentence, lines that begin and end documents.

    A mention that stands in two clusters counts in the first of them alone, as for the official scorer.
    """

    path: Location
    """A folder with a file for each split."""
    files: tuple[str, str, str] = (
        "train.english.v4_gold_conll",
        "dev.english.v4_gold_conll",
        "test.english.v4_gold_conll",
    )
    """Of training, validation and test."""

    def load(self, split: Split) -> CoreferenceDocuments:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        documents = list(_documents(file))
        if not documents:
            raise ValueError(f"{file} has no document")
        found = CoreferenceDocuments(
            documents=documents, description=f"{split} of {file.parent.name}: {len(documents):,} documents"
        )
        if split != "test" and not found.labelled:
            raise ValueError(f"{file} has no mention in its last column")
        return found

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)


def write_clusters(path: Path, documents: Sequence[CoreferenceDocument], found: Sequence[Sequence[Cluster]]) -> None:
    """Writes documents in the format of CoNLL-2012 with these clusters in the last column: what the official scorer takes.

    Columns of which nothing is known here are dashes.
    """
    lines = [line for document, clusters in zip(documents, found, strict=True) for line in _lines(document, clusters)]
    with replacing(path) as partial:
        partial.write_text("\n".join([*lines, ""]), encoding="utf-8")


class _Brackets:
    """The mentions of a document as its words are read."""

    def __init__(self) -> None:
        self.open: dict[str, list[int]] = collections.defaultdict(list)
        self.found: dict[str, list[Mention]] = collections.defaultdict(list)

    def read(self, column: str, word: int, where: str) -> None:
        """What begins and ends at a word; ``where`` is its line.

        Raises:
          ValueError: if it is not in the format, or what ends has not begun.
        """
        for part in column.split("|") if column != "-" else ():
            match = _MENTION.fullmatch(part)
            if match is None or not (match[1] or match[3]):
                raise ValueError(f"{where} has {column!r} in its last column, which should be as '-' or '(12|(3)|4)'")
            begins, cluster, ends = match.groups()
            if begins and not ends:
                self.open[cluster].append(word)
                continue
            if not begins and not self.open[cluster]:
                raise ValueError(f"{where} ends a mention of {cluster} that has not begun")
            self.found[cluster].append((word if begins else self.open[cluster].pop(), word))

    def clusters(self, where: str) -> tuple[Cluster, ...]:
        """All mentions, each once; ``where`` is the document's last line.

        Raises:
          ValueError: if one has not ended.
        """
        if unended := [cluster for cluster, begun in self.open.items() if begun]:
            raise ValueError(f"{where} ends a document in which a mention of {unended[0]} has not ended")
        seen: set[Mention] = set()
        found = []
        for mentions in self.found.values():
            own = sorted(set(mentions) - seen)
            seen.update(own)
            found += [tuple(own)] if own else []
        return tuple(sorted(found))


def _documents(file: Path) -> Iterator[CoreferenceDocument]:
    try:
        lines = read_file(file).decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error}") from error
    begun: tuple[str, str] | None = None
    rows: list[tuple[int, list[str]]] = []
    for number, line in enumerate(lines, start=1):
        if match := _BEGIN.match(line):
            if begun is not None:
                raise ValueError(f"{file} line {number} begins a document within another")
            begun, rows = (match[1], match[2]), []
        elif line.startswith("#end document"):
            if begun is None:
                raise ValueError(f"{file} line {number} ends a document that has not begun")
            yield _document(file, begun, rows, number)
            begun = None
        elif begun is not None:
            rows.append((number, line.split()))
        elif line.strip():
            raise ValueError(
                f"{file} line {number} should begin a document, as '#begin document (a/b); part 000', got {line[:60]!r}"
            )
    if begun is not None:
        raise ValueError(f"{file} ends within document {begun[0]}")


def _document(
    file: Path, begun: tuple[str, str], rows: Sequence[tuple[int, list[str]]], last: int
) -> CoreferenceDocument:
    brackets, sentence = _Brackets(), 0
    words: list[str] = []
    speakers: list[str] = []
    sentences: list[int] = []
    for line, row in rows:
        if not row:
            # Empty lines side by side end one sentence.
            sentence += bool(sentences) and sentences[-1] == sentence
            continue
        if len(row) < _COLUMNS:
            raise ValueError(f"{file} line {line} should have at least {_COLUMNS} columns, got {' '.join(row)[:60]!r}")
        brackets.read(row[-1], len(words), f"{file} line {line}")
        words.append(row[_WORD])
        speakers.append(row[_SPEAKER])
        sentences.append(sentence)
    clusters = brackets.clusters(f"{file} line {last}")
    if not words:
        raise ValueError(f"{file} line {last} ends a document without a word")
    columns = {"words": tuple(words), "speakers": tuple(speakers), "sentences": tuple(sentences)}
    return CoreferenceDocument(name=begun[0], part=begun[1], **columns, clusters=clusters)


def _lines(document: CoreferenceDocument, clusters: Sequence[Cluster]) -> Iterator[str]:
    """A document's lines."""
    cells: list[list[str]] = [[] for _ in document.words]
    spans = [(span, number) for number, cluster in enumerate(clusters) for span in cluster]
    # Of what begins at a word the longest is first, and of what ends there the shortest.
    for (begin, end), number in sorted(spans, key=lambda one: (one[0][0], -one[0][1])):
        cells[begin].append(f"({number})" if begin == end else f"({number}")
    for (begin, end), number in sorted(spans, key=lambda one: (one[0][1], -one[0][0])):
        cells[end] += [f"{number})"] if begin < end else []
    yield f"#begin document ({document.name}); part {document.part}"
    place, before = 0, 0
    for word, speaker, sentence, cell in zip(document.words, document.speakers, document.sentences, cells, strict=True):
        if sentence != before:
            yield ""
            place, before = 0, sentence
        known = (document.name, str(int(document.part)), str(place), word)
        yield " ".join([*known, *["-"] * 5, speaker, "*", "|".join(cell) or "-"])
        place += 1
    yield ""
    yield "#end document"
