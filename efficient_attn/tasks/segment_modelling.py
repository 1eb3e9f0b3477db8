"""Language modelling of a text read segment by segment: the memory is carried from batch to batch, and spans are paid for."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Functional, SegmentDecoder
from efficient_attn.models.segment_decoder import Memory, forget
from efficient_attn.tasks.language_modelling import Score, add_up, cross_entropy

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class SegmentModelling:
    """The training objective: mean cross-entropy over the valid tokens, ``"loss"``, and the penalty of the spans, ``"span"``.

    Args:
      model: a decoder's form.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
    """

    model: Functional[SegmentDecoder]
    label_smoothing: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Valid tokens, for both terms."""
        valid = jnp.sum(batch["valid"], dtype=jnp.float32)
        return {"loss": valid, "span": valid}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Memory):
        """The terms, and the memory after this segment."""
        reading = self.model.module(params)(batch["tokens"], forget(carry, batch["restart"]), key)
        losses = cross_entropy(reading.logits, batch["tokens"], self.label_smoothing)
        over_valid = lambda x: jnp.sum(jnp.where(batch["valid"], x, 0.0))  # noqa: E731
        counts = self.counts(batch)
        terms = {"loss": over_valid(losses), "span": over_valid(reading.penalty)}
        return {name: self.mean(total, counts[name]) for name, total in terms.items()}, reading.memory


SegmentStep = Callable[[Any, Batch, Memory], tuple[jax.Array, jax.Array, jax.Array, Memory]]


def segment_score_step(model: Functional[SegmentDecoder]) -> SegmentStep:
    """A jitted function from parameters, a segment and a memory to the nats and the number of its tokens and of those that were
    given the greatest probability, by row, and the memory."""

    @jax.jit
    def step(params: Any, batch: Batch, memory: Memory) -> tuple[jax.Array, jax.Array, jax.Array, Memory]:
        reading = model.module(params)(batch["tokens"], forget(memory, batch["restart"]))
        nats = jnp.where(batch["valid"], cross_entropy(reading.logits, batch["tokens"]), 0.0)
        right = batch["valid"] & (jnp.argmax(reading.logits, axis=-1) == batch["tokens"])
        return nats.sum(-1), batch["valid"].sum(-1), right.sum(-1), reading.memory

    return step


def score_segments(
    step: SegmentStep, params: Any, batches: Iterable[Batch], memory: Memory, words: int | None
) -> Score:
    """The score of a split from what ``step`` gives of all its segments, each after the memory of those before it."""

    def results() -> Iterator[list[jax.Array]]:
        carry = memory
        for batch in batches:
            *rows, carry = step(params, batch, carry)
            yield rows

    return add_up(results(), words)
