"""Answers that stand in a text: where they begin and end, which of them is most certain, and how right it is.

References:
  Rajpurkar et al., SQuAD's evaluation scripts, versions 1.1 and 2.0.
  Clark, Gardner, "Simple and Effective Multi-Paragraph Reading Comprehension", 2018 (all places of an answer).
"""

import collections
import dataclasses
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.fine_tuning import Batch, ClassLoss

# What a logit of a slot without a token counts as.
_NEVER = -1e9


@dataclasses.dataclass(frozen=True)
class AnswerLoss(ClassLoss):
    """Nats of the beginning being one of those of ``targets`` ``[B, A, 2]``, and of the end likewise; their mean.

        -log sum_{i in right places} softmax(logits over tokens)_i

    With one right place it is the cross-entropy of that place. Places of -1 are none; each is given once.
    """

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        both = [output.start_logits, output.end_logits]
        return sum(self._one(x, batch["targets"][..., n], batch["valid"]) for n, x in enumerate(both)) / 2

    def _one(self, logits: Float[Array, "B T"], places: Int[Array, "B A"], valid: Array) -> Float[Array, " B"]:
        chances = jax.nn.log_softmax(jnp.where(valid, logits, _NEVER), axis=-1)
        right = jnp.take_along_axis(chances, jnp.maximum(places, 0), axis=1)
        return -jax.nn.logsumexp(jnp.where(places >= 0, right, -jnp.inf), axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """A possible answer."""

    score: float
    start: int
    """The first token."""
    end: int
    """The last token."""


def best_spans(
    start: Float[np.ndarray, " T"], end: Float[np.ndarray, " T"], allowed: range, count: int, longest: int
) -> list[Span]:
    """The most certain spans of a window: sums of logits of the ``count`` best beginnings and ends, the best first.

    Args:
      start: logits of the beginning.
      end: logits of the end.
      allowed: tokens that answers consist of.
      count: how many beginnings, ends, and spans.
      longest: tokens of the longest answer.
    """
    slots = np.arange(allowed.start, allowed.stop)
    firsts, lasts = (slots[np.argsort(-x[slots], kind="stable")[:count]] for x in (start, end))
    pairs = [(int(i), int(j)) for i in firsts for j in lasts if i <= j < i + longest]
    found = [Span(score=float(start[i] + end[j]), start=i, end=j) for i, j in pairs]
    return sorted(found, key=lambda span: -span.score)[:count]


def normalised(text: str) -> str:
    """Lower case, without punctuation, articles and extra spaces."""
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact(found: str, right: Sequence[str]) -> float:
    """1 if the answer is one of the right ones after normalisation; none being right means that "" is."""
    return float(any(normalised(found) == normalised(text) for text in right or [""]))


def overlap(found: str, right: Sequence[str]) -> float:
    """F1 of the answer's words, the best over the right ones."""
    return max(_f1(normalised(found).split(), normalised(text).split()) for text in right or [""])


def _f1(found: list[str], right: list[str]) -> float:
    if not found or not right:
        return float(found == right)
    same = sum((collections.Counter(found) & collections.Counter(right)).values())
    return 2 * same / (len(found) + len(right))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model says."""

    text: str
    """The most certain span."""
    doubt: float
    """By how much it is less certain than that there is no answer."""
    best: tuple[tuple[float, str], ...] = ()
    """Scores and texts of the most certain spans, the first of which is the answer, each text once."""


def answer_scores(
    answers: Mapping[str, Answer], right: Mapping[str, Sequence[str]], threshold: float | None
) -> dict[str, float]:
    """``exact`` and ``f1``, means over questions; with a threshold of doubt, ``best_exact`` and ``best_f1`` too.

    Args:
      answers: by question.
      right: all right answers by question; none: it has none.
      threshold: doubt above which the answer is that there is none; None: there always is one. ``best_`` scores are those of the
        threshold that suits them best, as SQuAD's script for version 2.0 gives them.
    """
    said = spoken(answers, threshold)
    scores: dict[str, float] = {}
    for name, measure in (("exact", exact), ("f1", overlap)):
        each = [measure(said[key], right[key]) for key in answers]
        scores[name] = float(np.mean(each))
        if threshold is not None:
            bold = np.array([measure(answer.text, right[key]) for key, answer in answers.items()])
            silent = np.array([float(not right[key]) for key in answers])
            order = np.argsort([answer.doubt for answer in answers.values()], kind="stable")
            gains = np.cumsum((bold - silent)[order])
            scores[f"best_{name}"] = float((silent.sum() + max(0.0, gains.max())) / len(answers))
    return scores


def spoken(answers: Mapping[str, Answer], threshold: float | None) -> dict[str, str]:
    """The text of each answer; "" where doubt is above the threshold."""
    silent = lambda answer: threshold is not None and answer.doubt > threshold  # noqa: E731
    return {key: "" if silent(answer) else answer.text for key, answer in answers.items()}


def most_certain(spans: Iterable[tuple[float, str]], count: int) -> tuple[tuple[float, str], ...]:
    """Scores and texts of the ``count`` best of some spans, each text once, the best first."""
    found: dict[str, float] = {}
    for score, text in spans:
        found[text] = max(score, found.get(text, score))
    ordered = sorted(found.items(), key=lambda pair: -pair[1])
    return tuple((score, text) for text, score in ordered[:count])


def chances(answer: Answer, unanswerable: bool) -> list[dict[str, Any]]:
    """The best spans of an answer with their shares of the probability of all of them, as SQuAD's n-best files have them.

    Args:
      answer: with ``best``.
      unanswerable: whether there may be no answer, which is then one of them, as "".
    """
    said = list(answer.best)
    if unanswerable:
        said.append((answer.best[0][0] + answer.doubt if answer.best else 0.0, ""))
    said.sort(key=lambda pair: -pair[0])
    scores = np.array([score for score, _ in said], np.float64)
    shares = np.exp(scores - scores.max()) if len(said) else scores
    return [
        {"text": text, "probability": float(share / shares.sum()), "score": score}
        for (score, text), share in zip(said, shares, strict=True)
    ]
