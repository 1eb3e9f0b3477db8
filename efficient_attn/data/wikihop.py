"""Questions whose answer is one of some candidates, to be found by reading several texts: WikiHop's released files.

Reference:
  Welbl, Stenetorp, Riedel, "Constructing Datasets for Multi-hop Reading Comprehension Across Documents", 2018.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efficient_attn.data.labelled_text import file_of_split, hash_files
from efficient_attn.data.source import Location, read_file
from efficient_attn.data.splits import Split
from efficient_attn.files import replacing

_REMEDY = "WikiHop(path=...) names a folder with train.json and dev.json of the released archive"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CandidateQuestions:
    """One split."""

    questions: Sequence[str]
    """A relation and what it is of, as ``"country_of_origin one piece"``."""
    candidates: Sequence[tuple[str, ...]]
    """Of each question, one or more."""
    supports: Sequence[tuple[str, ...]]
    """The texts to read."""
    labels: Sequence[int] | None
    """Which candidate is right, from 0; None: it is not published."""
    keys: Sequence[str]
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.questions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikiHop:
    """The released files: lists of ``{"id", "query", "candidates", "supports", "answer"}``."""

    path: Location
    """A folder with a file for each split."""
    files: tuple[str, str, str] = ("train.json", "dev.json", "test.json")
    """Of training, validation and test; the test questions are not published."""

    def load(self, split: Split) -> CandidateQuestions:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        items = _items(file)
        labelled = split != "test" or all("answer" in item for item in items)
        return CandidateQuestions(
            questions=[item["query"] for item in items],
            candidates=[tuple(item["candidates"]) for item in items],
            supports=[tuple(item["supports"]) for item in items],
            labels=[_label(file, item) for item in items] if labelled else None,
            keys=[item["id"] for item in items],
            description=f"{split} of {file.parent.name}: {len(items):,} questions",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)


def write_candidates(path: Path, keys: Sequence[str], found: Sequence[str]) -> None:
    """Writes the answer to each question, as WikiHop's benchmark takes them: one JSON object by id."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(dict(zip(keys, found, strict=True)), ensure_ascii=False, indent=1) + "\n")


def _items(file: Path) -> list[dict[str, Any]]:
    try:
        items = json.loads(read_file(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise ValueError(f"{file} should be a list of questions, got {json.dumps(items)[:60]}")
    for number, item in enumerate(items):
        texts = [item.get(name) for name in ("id", "query")] if isinstance(item, dict) else [None]
        lists = [item.get(name) for name in ("candidates", "supports")] if isinstance(item, dict) else [None]
        whole = all(isinstance(text, str) for text in texts)
        if not whole or not all(isinstance(x, list) and x and all(isinstance(t, str) for t in x) for x in lists):
            raise ValueError(
                f"question {number} of {file} should have texts id and query and lists of texts candidates and supports, got "
                f"{json.dumps(item)[:80]}"
            )
    return items


def _label(file: Path, item: dict[str, Any]) -> int:
    if item.get("answer") not in item["candidates"]:
        raise ValueError(f"the answer {item.get('answer')!r} to {item['id']} of {file} is none of its candidates")
    return item["candidates"].index(item["answer"])
