"""How an encoder reads questions and long texts in windows, and how what it says of windows becomes answers."""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from efficient_attn import data
from efficient_attn.files import replacing
from efficient_attn.tasks.answers import (
    Answer,
    AnswerLoss,
    answer_scores,
    best_spans,
    chances,
    most_certain,
    spoken,
)
from efficient_attn.text_readings import Predictions, Results, TextReading

# Of a loss over all places of an answer, as TriviaQA's published models have it.
_MOST_PLACES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answering:
    """How questions are put and answered."""

    question: int = 63
    """The most tokens of a question; a longer one is cut. A Longformer's 64 global tokens hold it and the one before it."""
    stride: int = 128
    """Tokens of a text that a window has in common with the one before it."""
    windows: int | None = None
    """The most windows of a text, which is cut after them; None: it is read whole."""
    learned: Literal["first", "any"] = "first"
    """Whether a window teaches the first place of an answer in it, or that it is at any of the first 64."""
    longest: int = 30
    """The most tokens of an answer."""
    best: int = 20
    """How many beginnings and ends of a window are tried."""
    threshold: float = 0.0
    """How much more certain no answer has to be than an answer, where a question may have none."""

    def __post_init__(self):
        for name in ("question", "longest", "best", "windows"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"answering.{name} must be at least 1, got {getattr(self, name)}")
        if self.stride < 0:
            raise ValueError(f"answering.stride must not be negative, got {self.stride}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerReading(TextReading):
    """Questions and texts; a window of a text that has no answer in it teaches the first token."""

    source: data.SQuAD
    answering: Answering

    @property
    def loss(self) -> AnswerLoss:
        """What is learned."""
        return AnswerLoss()

    def texts(self, split: data.Questions) -> tuple[Sequence[str], Sequence[str]]:
        """Questions as they are read, and the texts that they are about."""
        asked = self.pieces.beginnings(_asked(split), self.answering.question)
        return asked, [question.context for question in split.questions]

    def blank_targets(self) -> np.ndarray:
        """No answer: the first token, as often as answers have room."""
        return np.zeros((1, self._answers_learned, 2), np.int32)

    @property
    def _answers_learned(self) -> int:
        """Answers of a window that are learned at most."""
        return _MOST_PLACES if self.answering.learned == "any" else 1

    def encode(self, split: data.Questions) -> data.EncodedTexts:
        """The windows of a split."""
        places, most = [], self.answering.windows
        cut = {
            n for n, (part, whole) in enumerate(zip(self.texts(split)[0], _asked(split), strict=True)) if part != whole
        }

        def windows() -> Iterator[Any]:
            # Encodings take far more memory than tokens: none is kept.
            for number, window in self._windows(split):
                places.append(self._places(window, split.questions[number].spans))
                if most is not None and len(window.overflowing) >= most:
                    cut.add(number)
                yield window

        rows = data.padded(windows(), self.pieces.context, self.model.pad_token)
        targets = {"targets": np.stack(places)} if split.labelled else {}
        return data.EncodedTexts(
            arrays=rows.arrays | targets, lengths=rows.lengths, truncated=len(cut), description=split.description
        )

    def predictions(self, split: data.Questions, examples: data.EncodedTexts, results: Results) -> Predictions:
        """An answer to each question, and their scores."""
        answers = self._answers(split, results)
        threshold = self.answering.threshold if split.unanswerable else None
        right: dict[str, tuple[str, ...]] = {}
        for question in split.questions:
            right[question.key] = right.get(question.key, ()) + (question.answers or ())
        scores: dict[str, Any] = answer_scores(answers, right, threshold) if split.labelled else {}
        return Predictions(
            scores=scores | {"windows": len(examples)},
            write=lambda path: _write_all(path, answers, threshold),
        )

    def _answers(self, split: data.Questions, results: Results) -> dict[str, Answer]:
        """The most certain spans over all windows of all texts of each question."""
        best, found = self.answering.best, dict[str, list[tuple[float, str]]]()
        nothing: dict[str, float] = {}
        for row, (number, window) in enumerate(self._windows(split)):
            question = split.questions[number]
            start, end = results["start_logits"][row], results["end_logits"][row]
            none = float(start[0] + end[0])
            nothing[question.key] = min(none, nothing.get(question.key, none))
            spans = best_spans(start, end, _tokens_of_text(window), best, self.answering.longest)
            found.setdefault(question.key, []).extend(
                (span.score, question.context[window.offsets[span.start][0] : window.offsets[span.end][1]].strip())
                for span in spans
            )
        certain = {key: most_certain(spans, best) for key, spans in found.items()}
        missing = ((-np.inf, ""),)
        return {
            key: Answer(
                text=(certain[key] or missing)[0][1], doubt=none - (certain[key] or missing)[0][0], best=certain[key]
            )
            for key, none in nothing.items()
        }

    def _windows(self, split: data.Questions) -> Iterator[tuple[int, Any]]:
        """The windows of each text in turn, each with the number of its question."""
        whole = self.pieces.framed(*self.texts(split), "only_second", self.answering.stride)
        for number, encoding in enumerate(whole):
            for window in (encoding, *encoding.overflowing)[: self.answering.windows]:
                yield number, window

    def _places(self, window: Any, spans: tuple[tuple[int, int], ...]) -> Int32[np.ndarray, "A 2"]:
        """Tokens at which the answers in a window begin and end, each once, and -1; the first token if there is none."""
        tokens = _tokens_of_text(window)
        offsets = np.array(window.offsets[tokens.start : tokens.stop]).reshape(-1, 2)
        held = [s for s in spans if len(tokens) and offsets[0, 0] <= s[0] and s[1] <= offsets[-1, 1]]
        # The first token that ends after the answer begins, and the last that begins before it ends.
        starts = [tokens.start + int(np.searchsorted(offsets[:, 1], begin, side="right")) for begin, _ in held]
        ends = [tokens.start + int(np.searchsorted(offsets[:, 0], end, side="left")) - 1 for _, end in held]
        count = self._answers_learned
        places = np.full((count, 2), -1, np.int32)
        for column, found in enumerate((starts or [0], ends or [0])):
            once = list(dict.fromkeys(found[:count]))
            places[: len(once), column] = once
        return places


def _asked(split: data.Questions) -> list[str]:
    return [question.question for question in split.questions]


def _tokens_of_text(window: Any) -> range:
    """Tokens of the text, which follows the question."""
    inside = [n for n, part in enumerate(window.sequence_ids) if part == 1]
    return range(inside[0], inside[-1] + 1) if inside else range(0)


def _write_all(path: Path, answers: Mapping[str, Answer], threshold: float | None) -> None:
    """Writes the answers, beside them the best spans of each, ``NAME.nbest.json``, and where there may be none how much less
    certain than that each answer is, ``NAME.null_odds.json``."""
    unanswerable = threshold is not None
    _write(path, spoken(answers, threshold))
    _write(path.with_suffix(".nbest.json"), {key: chances(answer, unanswerable) for key, answer in answers.items()})
    if unanswerable:
        _write(path.with_suffix(".null_odds.json"), {key: answer.doubt for key, answer in answers.items()})


def _write(path: Path, answers: dict[str, Any]) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
