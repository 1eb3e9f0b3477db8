"""Questions about texts whose answers stand in them, from files in the format of SQuAD, versions 1.1 and 2.0.

TriviaQA has a converter to this format; there a question stands once for each of its documents, as ``ID--DOCUMENT``.

References:
  Rajpurkar, Zhang, Lopyrev, Liang, "SQuAD", 2016, and Rajpurkar, Jia, Liang, "Know What You Don't Know", 2018.
  Joshi, Choi, Weld, Zettlemoyer, "TriviaQA", 2017.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from efficient_attn.data.labelled_text import file_of_split, hash_files
from efficient_attn.data.source import Location, read_file
from efficient_attn.data.splits import Split

_REMEDY = "SQuAD(path=...) names a folder with the data set's JSON files, and files=... their names"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Question:
    """A question about one text."""

    key: str
    """Names the question; of those with one key the most certain answer counts."""
    question: str
    context: str
    answers: tuple[str, ...] | None
    """All that are right; none: there is none in the text. None: they are not published."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where answers begin and end in the text, in characters."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Questions:
    """One split."""

    questions: Sequence[Question]
    unanswerable: bool
    """Whether some have no answer, as in version 2.0."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.questions)

    @property
    def labelled(self) -> bool:
        """Whether the answers are published."""
        return all(question.answers is not None for question in self.questions)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SQuAD:
    """A data set in SQuAD's format."""

    path: Location
    """A folder with a file for each split."""
    files: tuple[str, str, str] = ("train-v1.1.json", "dev-v1.1.json", "test-v1.1.json")
    """Of training, validation and test."""
    mentions: Literal["given", "all"] = "given"
    """Where answers stand: at the places that the file gives, or, as for TriviaQA, wherever their words occur."""

    def load(self, split: Split) -> Questions:
        """Reads one split; see ``Source.load``."""
        file = file_of_split(self.path, self.files, split, _REMEDY)
        questions, unanswerable = [], False
        for context, item in _items(file):
            unanswerable |= "is_impossible" in item
            questions.append(_question(file, context, item, self.mentions))
        if not questions:
            raise ValueError(f"{file} has no question")
        found = Questions(
            questions=questions,
            unanswerable=unanswerable,
            description=f"{split} of {file.parent.name}: {len(questions):,} questions",
        )
        if split != "test" and not found.labelled:
            raise ValueError(f"{file} has questions without 'answers'")
        return found

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_files(self, self.path, self.files)


def _items(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each question as the file has it, and its text."""
    try:
        whole = json.loads(read_file(file))
        for article in whole["data"]:
            for paragraph in article["paragraphs"]:
                for item in paragraph["qas"]:
                    yield paragraph["context"], item
    except json.JSONDecodeError as error:
        raise ValueError(f"{file} is not JSON: {error}") from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"{file} is not in SQuAD's format, data / paragraphs / context and qas: {error}") from error


def _question(file: Path, context: str, item: dict[str, Any], mentions: str) -> Question:
    for name in ("id", "question"):
        if not isinstance(item.get(name), str):
            raise ValueError(f"{file} has a question without {name!r}: {json.dumps(item)[:80]}")
    key = item["id"].partition("--")[0]
    if "answers" not in item:
        return Question(key=key, question=item["question"], context=context, answers=None)
    given = [(answer["answer_start"], answer["text"]) for answer in item["answers"]]
    for start, text in given:
        if mentions == "given" and context[start : start + len(text)] != text:
            raise ValueError(
                f"{file}: answer {text!r} of question {item['id']} is not at character {start} of its text"
            )
    texts = tuple(dict.fromkeys(text for _, text in given))
    spans = _mentions(context, texts) if mentions == "all" else [(start, start + len(text)) for start, text in given]
    return Question(
        key=key, question=item["question"], context=context, answers=texts, spans=tuple(dict.fromkeys(spans))
    )


def _mentions(context: str, texts: Sequence[str]) -> list[tuple[int, int]]:
    """Wherever one of ``texts`` stands as whole words, in either case."""
    found = [re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", context, re.IGNORECASE) for text in texts if text]
    return sorted(match.span() for matches in found for match in matches)
