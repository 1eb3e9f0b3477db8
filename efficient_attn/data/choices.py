"""Texts with several endings or answers of which one is right: JSON lines, as SWAG, RACE and COPA can be written."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efficient_attn.data.labelled_text import file_of_split, hash_files, json_lines, text_field
from efficient_attn.data.source import Location
from efficient_attn.data.splits import Split

_REMEDY = "point path=... at a folder with train.jsonl, validation.jsonl and test.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Choices:
    """One split."""

    texts: Sequence[str]
    choices: Sequence[tuple[str, ...]]
    """Equally many for each text."""
    labels: Sequence[int] | None
    """Which is right, from 0; None: it is not published."""
    keys: Sequence[str]
    """What names each example, in predictions."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceLines:
    """Files of JSON objects, one a line, as ``{"text": "...", "choices": ["...", "..."], "label": 0}``."""

    path: Location
    """A folder with a file for each split."""
    text: str = "text"
    """The field of the text."""
    choices: tuple[str, ...] = ("choices",)
    """One field that holds a list, or a field for each choice, as COPA's ``choice1`` and ``choice2``."""
    question: str | None = None
    """The field of what stands before each choice; None: nothing does."""
    label: str = "label"
    """The field of the right choice's number, from 0."""
    files: tuple[str, str, str] = ("train.jsonl", "validation.jsonl", "test.jsonl")
    """Of training, validation and test."""

    def __post_init__(self):
        if not self.choices:
            raise ValueError("choices must name at least one field, got none")

    def load(self, split: Split) -> Choices:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        rows = list(json_lines(file))
        choices = [self._choices(row, file, line) for line, row in rows]
        for (line, _), found in zip(rows, choices, strict=True):
            if len(found) != len(choices[0]):
                raise ValueError(f"{file} line {line} has {len(found)} choices, and the first has {len(choices[0])}")
        labelled = split != "test" or all(self.label in row for _, row in rows)
        return Choices(
            texts=[text_field(row, self.text, file, line) for line, row in rows],
            choices=choices,
            labels=[self._label(row, file, line, len(choices[0])) for line, row in rows] if labelled else None,
            keys=[str(row.get("idx", row.get("id", number))) for number, (_, row) in enumerate(rows)],
            description=f"{split} of {file.parent.name}: {len(rows):,} texts of {len(choices[0])} choices",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)

    def _choices(self, row: dict[str, Any], file: Path, line: int) -> tuple[str, ...]:
        before = "" if self.question is None else f"{text_field(row, self.question, file, line)} "
        if len(self.choices) > 1:
            found = [text_field(row, name, file, line) for name in self.choices]
        else:
            (name,) = self.choices
            found = row.get(name)
            if not (isinstance(found, list) and len(found) > 1 and all(isinstance(text, str) for text in found)):
                raise ValueError(
                    f"{file} line {line} should have a list of at least 2 texts as {name!r}, got {found!r:.60}"
                )
        return tuple(before + text for text in found)

    def _label(self, row: dict[str, Any], file: Path, line: int, count: int) -> int:
        label = row.get(self.label)
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < count:
            raise ValueError(
                f"{self.label!r} of {file} line {line} should be a choice from 0 to {count - 1}, got {json.dumps(label)}"
            )
        return label
