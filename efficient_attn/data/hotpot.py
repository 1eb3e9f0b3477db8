"""Questions about several paragraphs, with the sentences that answer them together: HotpotQA's files, distractor setting.

Reference:
  Yang, Qi, Zhang, Bengio, Cohen, Salakhutdinov, Manning, "HotpotQA", 2018.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficient_attn.data.labelled_text import file_of_split, hash_files
from efficient_attn.data.source import Location, read_file, require_file, require_folder
from efficient_attn.data.splits import Split

Fact = tuple[str, int]
"""The title of a paragraph, and which of its sentences."""

_REMEDY = (
    "HotpotQA(path=...) names a folder with the released files of the distractor setting, and files=... their names"
)
_KEPT_REMEDY = (
    "eval.py --split SPLIT --predictions FOLDER/SPLIT.json of a run on all paragraphs writes FOLDER/SPLIT.kept.json"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paragraph:
    """A paragraph of Wikipedia."""

    title: str
    sentences: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceQuestion:
    """A question and what there is to read."""

    key: str
    question: str
    paragraphs: tuple[Paragraph, ...]
    answer: str | None
    """``yes``, ``no`` or words of a paragraph; None: it is not published."""
    facts: frozenset[Fact]
    """The sentences that answer it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EvidenceQuestions:
    """One split."""

    questions: Sequence[EvidenceQuestion]
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def labelled(self) -> bool:
        """Whether the answers are published."""
        return all(question.answer is not None for question in self.questions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class HotpotQA:
    """The released files: lists of ``{"_id", "question", "context", "answer", "supporting_facts"}``."""

    path: Location
    """A folder with a file for each split."""
    files: tuple[str, str, str] = (
        "hotpot_train_v1.1.json",
        "hotpot_dev_distractor_v1.json",
        "hotpot_test_distractor_v1.json",
    )
    """Of training, validation and test; the test questions of this setting are not published."""
    kept: Location | None = None
    """A folder with ``train.kept.json`` and so on, the titles of the paragraphs that are read, by question; None: all are."""

    def load(self, split: Split) -> EvidenceQuestions:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        kept = None if self.kept is None else self._kept(split)
        questions = [_question(file, item, kept) for item in _items(file)]
        found = EvidenceQuestions(
            questions=questions, description=f"{split} of {file.parent.name}: {len(questions):,} questions"
        )
        if split != "test" and not found.labelled:
            raise ValueError(f"{file} has questions without 'answer'")
        return found

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        whole = hash_files(dataclasses.replace(self, kept=None), self.path, self.files)
        names = ("train.kept.json", "validation.kept.json", "test.kept.json")
        return whole if self.kept is None else f"{whole} {hash_files(self, self.kept, names)}"

    def _kept(self, split: Split) -> Mapping[str, Sequence[str]]:
        file = require_file(require_folder(self.kept or "", _KEPT_REMEDY) / f"{split}.kept.json", _KEPT_REMEDY)
        try:
            return json.loads(read_file(file))
        except json.JSONDecodeError as error:
            raise ValueError(f"{file} is not JSON: {error}") from error


def _items(file: Path) -> list[Any]:
    try:
        items = json.loads(read_file(file))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    if not isinstance(items, list) or not items:
        raise ValueError(f"{file} should be a list of questions, got {json.dumps(items)[:60]}")
    return items


def _question(file: Path, item: Any, kept: Mapping[str, Sequence[str]] | None) -> EvidenceQuestion:
    try:
        key, question, answer = item["_id"], item["question"], item.get("answer")
        paragraphs = [Paragraph(title=title, sentences=tuple(sentences)) for title, sentences in item["context"]]
        facts = frozenset((title, int(number)) for title, number in item.get("supporting_facts", ()))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} has a question that is not in HotpotQA's format ({error}): {json.dumps(item)[:80]}"
        ) from None
    if kept is not None:
        if key not in kept:
            raise ValueError(f"question {key} of {file} is not among those whose paragraphs are kept: {_KEPT_REMEDY}")
        paragraphs = [paragraph for paragraph in paragraphs if paragraph.title in kept[key]]
    return EvidenceQuestion(key=key, question=question, paragraphs=tuple(paragraphs), answer=answer, facts=facts)
