"""Masked language modelling: cross-entropy of the tokens that were taken away, given all others.

Reference:
  Devlin, Chang, Lee, Toutanova, "BERT", 2019, section 3.1 (task 1).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Encoder, Functional
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class MaskedModelling:
    """The training objective: mean cross-entropy over the tokens of a batch that are to be told, one term, ``"loss"``.

    Args:
      model: an encoder's form, with the head ``masked_lm``.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
    """

    model: Functional[Encoder]
    label_smoothing: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Tokens that are to be told."""
        return {"loss": jnp.sum(batch["told"], dtype=jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        logits = self.model.module(params)(batch["inputs"], batch["valid"], key=key).logits
        losses = cross_entropy(logits, batch["tokens"], self.label_smoothing)
        total = jnp.sum(jnp.where(batch["told"], losses, 0.0))
        return {"loss": self.mean(total, self.counts(batch)["loss"])}, carry


def told_scores(logits: jax.Array, tokens: jax.Array, told: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The nats of the tokens ``[B, P]`` that ``told`` marks, their number, and how many of them ``logits`` ``[B, P, V]`` give the
    greatest probability; each for every row."""
    nats = jnp.where(told, cross_entropy(logits, tokens), 0.0).sum(-1)
    return nats, told.sum(-1), (told & (jnp.argmax(logits, axis=-1) == tokens)).sum(-1)


def masked_score_step(model: Functional[Encoder], rows: Any = None, whole: Any = None):
    """A jitted function from parameters and an evaluation batch to the nats of its scored tokens that are to be told, their
    number, and how many of them were given the greatest probability; each for every row.

    Args:
      model: an encoder's form.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        logits, tokens = model.module(params)(batch["inputs"], batch["valid"]).logits, batch["tokens"]
        told = batch["scored"] & batch["told"]
        return told_scores(logits, tokens, told)

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
