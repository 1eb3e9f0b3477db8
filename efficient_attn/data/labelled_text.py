"""Texts, and pairs of them, with a class or a number each: JSON lines of one's own, and their reading."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from efficient_attn.data.source import Location, hash_identity, read_file, require_file, require_folder
from efficient_attn.data.splits import Split
from efficient_attn.files import replacing

_REMEDY = "point path=... at a folder with train.jsonl, validation.jsonl and test.jsonl"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledTexts:
    """One split."""

    firsts: Sequence[str]
    seconds: Sequence[str] | None
    """What each text is paired with; None: they are single."""
    labels: Sequence[str] | None
    """As the files have them; None: they are not published."""
    keys: Sequence[str]
    """What names each example, in predictions."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.firsts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledLines:
    """Files of JSON objects, one a line, as ``{"text": "...", "label": "..."}``: IMDB, Hyperpartisan, SuperGLUE's classes.

    Labels may be text, numbers or true and false.
    """

    path: Location
    """A folder with a file for each split."""
    text: str = "text"
    """The field of the text."""
    pair: str | None = None
    """The field of what it is paired with; None: texts are single."""
    label: str = "label"
    """The field of the class or the number; a file without it has no labels."""
    numbers: bool = False
    """Whether labels are numbers, and not classes."""
    files: tuple[str, str, str] = ("train.jsonl", "validation.jsonl", "test.jsonl")
    """Of training, validation and test."""

    def load(self, split: Split) -> LabelledTexts:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        rows = list(json_lines(file))
        fields = [self.text, *filter(None, [self.pair])]
        texts = [[text_field(row, name, file, line) for line, row in rows] for name in fields]
        given = [row.get(self.label) is not None for _, row in rows]
        if any(given) and not all(given):
            raise ValueError(f"{file} line {rows[given.index(False)][0]} has no field {self.label!r}, and others have")
        if split != "test" and not any(given):
            raise ValueError(f"{file} has no field {self.label!r}: line {rows[0][0]} has {', '.join(rows[0][1])}")
        return LabelledTexts(
            firsts=texts[0],
            seconds=texts[1] if self.pair else None,
            labels=[_as_text(row[self.label]) for _, row in rows] if all(given) else None,
            keys=[_as_text(row.get("idx", row.get("id", number))) for number, (_, row) in enumerate(rows)],
            description=f"{split} of {file.parent.name}: {len(rows):,} texts",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)


def write_submission(path: Path, keys: Sequence[str], predictions: Sequence[str]) -> None:
    """Writes a line for each example, as GLUE takes them: ``index`` and ``prediction``, by tabs."""
    lines = [f"{key}\t{said}\n" for key, said in zip(keys, predictions, strict=True)]
    with replacing(path) as partial:
        partial.write_text("".join(["index\tprediction\n", *lines]))


def file_of_split(folder: Location, files: tuple[str, str, str], split: Split, remedy: str) -> Path:
    """The file of a split; errors as of ``require_file``."""
    name = files[("train", "validation", "test").index(split)]
    return require_file(require_folder(folder, remedy) / name, remedy)


def hash_files(source: Any, folder: Location, files: Sequence[str]) -> str:
    """Identifies a source by those of its files that are there; see ``Source.fingerprint``."""
    found = [path for path in (Path(folder).expanduser() / name for name in files) if path.is_file()]
    return hash_identity(source, [(path.name, path.stat().st_size) for path in found])


def json_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file and their lines, counted from 1.

    Raises:
      ValueError: if a line is not a JSON object in UTF-8, or there is none.
    """
    number = 0
    for line, text in enumerate(read_file(file).split(b"\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{file} line {line} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{file} line {line} should be a JSON object, got {type(row).__name__}")
        number += 1
        yield line, row
    if not number:
        raise ValueError(f"{file} has no example")


def text_field(row: dict[str, Any], name: str, file: Path, line: int) -> str:
    """A field of a row, which must be text.

    Raises:
      ValueError: if it is missing or is something else.
    """
    if name not in row:
        raise ValueError(f"{file} line {line} has no field {name!r}; it has {', '.join(row)}")
    value = row[name]
    if not isinstance(value, str):
        raise ValueError(f"{name!r} of {file} line {line} should be one text, got {json.dumps(value)[:60]}")
    return value


def _as_text(value: Any) -> str:
    """A label as it is written in JSON, text without its quotes."""
    return value if isinstance(value, str) else json.dumps(value)
