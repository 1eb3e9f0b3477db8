"""Answers from several paragraphs with the sentences that they rest on: the loss, and HotpotQA's scores.

References:
  Yang et al., "HotpotQA", 2018, and its evaluation script.
  Beltagy, Peters, Cohan, "Longformer", 2020, section 6 and appendix E.2.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence, Set
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.answers import AnswerLoss, normalised
from efficient_attn.tasks.fine_tuning import Batch
from efficient_attn.tasks.language_modelling import cross_entropy

KINDS = ("span", "yes", "no")
"""Of answers."""
TITLE, SENTENCE, QUESTION = 1, 2, 3
"""What a token marks, in the order of the head's results: the beginning of a paragraph, the end of a sentence; of the question."""

Answered = tuple[str, Set[tuple[str, int]]]
"""An answer and its sentences."""


@dataclasses.dataclass(frozen=True)
class EvidenceLoss:
    """Nats of the answer's kind, of its place where it has one, and the mean of those of each title and of each sentence.

    Batches are those of ``EvidenceReading``: ``kinds`` ``[B]``, ``targets`` as of ``AnswerLoss``, ``marks`` ``[B, T]`` and
    ``facts`` ``[B, T]``, 1 at the marks of what answers. Texts in parts, ``[B, P, T]``, are taken side by side, and the kind from
    the mean of their logits.
    """

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        output, batch = _side_by_side(output, batch)
        placed = (batch["kinds"] == 0) & (batch["targets"][:, 0] >= 0).all(-1)
        some = jnp.where(placed[:, None, None], batch["targets"], 0)
        place = jnp.where(placed, AnswerLoss()(output, dict(batch) | {"targets": some}), 0.0)
        kind = cross_entropy(output.logits, batch["kinds"])
        return kind + place + sum(self._marked(output, batch, mark) for mark in (TITLE, SENTENCE))

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """Every row once."""
        return jnp.ones(batch["targets"].shape[0])

    def results(self, output: EncoderOutput, batch: Batch) -> dict[str, jax.Array]:
        """Logits of the kind, of both ends, and of every mark."""
        output, batch = _side_by_side(output, batch)
        at = jnp.clip(batch["marks"].astype(jnp.int32) - 1, 0, 1)[..., None]
        marked = jnp.take_along_axis(output.evidence_logits, at, axis=-1)[..., 0]
        return {
            "logits": output.logits,
            "start_logits": output.start_logits,
            "end_logits": output.end_logits,
            "evidence_logits": marked,
        }

    def _marked(self, output: EncoderOutput, batch: Batch, mark: int) -> Float[Array, " B"]:
        here = batch["marks"] == mark
        facts = batch["facts"].astype(jnp.float32)
        losses = optax.sigmoid_binary_cross_entropy(output.evidence_logits[..., mark - 1], facts)
        return jnp.where(here, losses, 0.0).sum(-1) / jnp.maximum(here.sum(-1), 1)


def _side_by_side(output: EncoderOutput, batch: Batch) -> tuple[EncoderOutput, Batch]:
    """Parts as one text, where there are some."""
    if batch["marks"].ndim == 2:
        return output, batch
    flat = lambda x: x.reshape(x.shape[0], -1, *x.shape[3:])  # noqa: E731
    there = batch["valid"].any(-1)[..., None]
    kind = jnp.where(there, output.logits, 0.0).sum(1) / jnp.maximum(there.sum(1), 1)
    names = ("last_hidden_state", "start_logits", "end_logits", "evidence_logits")
    rest = {name: flat(getattr(output, name)) for name in names}
    whole = dict(batch) | {name: flat(batch[name]) for name in ("valid", "marks", "facts")}
    return EncoderOutput(logits=kind, **rest), whole


def evidence_scores(found: Mapping[str, Answered], right: Mapping[str, Answered]) -> dict[str, float]:
    """``exact`` and ``f1`` of answers, ``facts_`` of sentences and ``joint_`` of both, means over questions."""
    rows = [_scores(found[key], right[key]) for key in right]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _scores(found: Answered, right: Answered) -> dict[str, float]:
    answer = _overlap(_words(found[0]), _words(right[0]), _closed(found[0], right[0]))
    facts = _overlap(list(found[1]), list(right[1]), False)
    exact, same = float(normalised(found[0]) == normalised(right[0])), float(set(found[1]) == set(right[1]))
    precision, recall = answer[0] * facts[0], answer[1] * facts[1]
    joint = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {
        "exact": exact,
        "f1": answer[2],
        "facts_exact": same,
        "facts_f1": facts[2],
        "joint_exact": exact * same,
        "joint_f1": joint,
    }


def _words(text: str) -> list[str]:
    return normalised(text).split()


def _closed(found: str, right: str) -> bool:
    """Whether one of two different answers is no span, so that words in common count for nothing."""
    pair = normalised(found), normalised(right)
    return pair[0] != pair[1] and bool({"yes", "no", "noanswer"} & set(pair))


def _overlap(found: Sequence[Any], right: Sequence[Any], nothing: bool) -> tuple[float, float, float]:
    """Precision, recall and F1."""
    same = sum((collections.Counter(found) & collections.Counter(right)).values())
    if nothing or not same:
        return 0.0, 0.0, 0.0
    return same / len(found), same / len(right), 2 * same / (len(found) + len(right))
