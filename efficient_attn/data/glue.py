"""The tasks of GLUE from the files that the benchmark publishes, and the files that it takes.

Reference:
  Wang, Singh, Michael, Hill, Levy, Bowman, "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language
  Understanding", 2019.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from efficient_attn.data.labelled_text import LabelledTexts, file_of_split, hash_files
from efficient_attn.data.source import Location, read_file
from efficient_attn.data.splits import Split

GLUETask = Literal["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "mnli_mismatched", "qnli", "rte", "wnli"]
_REMEDY = "unpack GLUE's archive of the task, and point path=... at the folder with its TSV files"
_FILES = ("train.tsv", "dev.tsv", "test.tsv")
_BINARY, _ENTAILMENT = ("0", "1"), ("entailment", "not_entailment")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GLUETable:
    """Columns of a task's files."""

    texts: tuple[str, ...]
    """Of the text, or of both of a pair."""
    label: str
    labels: tuple[str, ...] = ()
    """The classes in order; none: labels are numbers."""
    files: tuple[str, str, str] = _FILES
    header: tuple[str, ...] | None = None
    """Names of the columns of files that have no header, those with labels; None: all have one."""
    submission: str
    """The name of the file that the benchmark takes."""


def _pair(first: str, second: str, label: str, labels: tuple[str, ...], submission: str) -> GLUETable:
    return GLUETable(texts=(first, second), label=label, labels=labels, submission=submission)


def _mnli(which: str, submission: str) -> GLUETable:
    plain = _pair("sentence1", "sentence2", "gold_label", ("contradiction", "entailment", "neutral"), submission)
    return dataclasses.replace(plain, files=("train.tsv", f"dev_{which}.tsv", f"test_{which}.tsv"))


_SENTENCES = ("sentence1", "sentence2")
GLUE_TABLES: Mapping[str, GLUETable] = MappingProxyType(
    {
        "cola": GLUETable(
            texts=("sentence",),
            label="label",
            labels=_BINARY,
            header=("origin", "label", "mark", "sentence"),
            submission="CoLA.tsv",
        ),
        "sst2": GLUETable(texts=("sentence",), label="label", labels=_BINARY, submission="SST-2.tsv"),
        "mrpc": _pair("#1 String", "#2 String", "Quality", _BINARY, "MRPC.tsv"),
        "qqp": _pair("question1", "question2", "is_duplicate", _BINARY, "QQP.tsv"),
        "stsb": _pair(*_SENTENCES, "score", (), "STS-B.tsv"),
        "mnli": _mnli("matched", "MNLI-m.tsv"),
        "mnli_mismatched": _mnli("mismatched", "MNLI-mm.tsv"),
        "qnli": _pair("question", "sentence", "label", _ENTAILMENT, "QNLI.tsv"),
        "rte": _pair(*_SENTENCES, "label", _ENTAILMENT, "RTE.tsv"),
        "wnli": _pair(*_SENTENCES, "label", _BINARY, "WNLI.tsv"),
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GLUE:
    """A task of GLUE; ``test`` has no labels."""

    task: GLUETask
    path: Location
    """The folder with the task's TSV files."""

    @property
    def table(self) -> GLUETable:
        """Columns of the task."""
        return GLUE_TABLES[self.task]

    @property
    def numbers(self) -> bool:
        """Whether labels are numbers, and not classes."""
        return not self.table.labels

    def load(self, split: Split) -> LabelledTexts:
        """Reads one split; see ``Source.load``."""
        table, file = self.table, file_of_split(self.path, self.table.files, split, _REMEDY)
        labelled = split != "test"
        header, rows, broken = _read(file, table.header if labelled else None)
        columns = [_column(header, name, file) for name in (*table.texts, *([table.label] if labelled else []))]
        texts = [[row[column] for row in rows] for column in columns]
        return LabelledTexts(
            firsts=texts[0],
            seconds=texts[1] if len(table.texts) == 2 else None,
            labels=texts[-1] if labelled else None,
            # The benchmark counts examples of the test files, where their own index is the same.
            keys=[str(number) for number in range(len(rows))],
            description=f"{split} of GLUE {self.task}: {len(rows):,} texts"
            + (f", {broken} broken lines" if broken else ""),
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.table.files)


def _read(file: Path, header: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[list[str]], int]:
    """The columns' names, the rows, and how many were left out for want of a column; quotes mean nothing in these files."""
    try:
        lines = read_file(file).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not UTF-8: {error}") from error
    found = [line.rstrip("\r").split("\t") for line in lines if line.strip()]
    if header is None:
        header, found = tuple(found[0]) if found else (), found[1:]
    rows = [row for row in found if len(row) >= len(header)]
    # The published files of QQP have a few broken lines.
    if not rows or len(rows) < 0.99 * len(found):
        raise ValueError(
            f"{file} has {len(rows)} lines with the {len(header)} columns {', '.join(header)}, of {len(found)}"
        )
    return header, rows, len(found) - len(rows)


def _column(header: Sequence[str], name: str, file: Path) -> int:
    if name not in header:
        raise ValueError(f"{file} has no column {name!r}; it has {', '.join(header)}")
    return header.index(name)
