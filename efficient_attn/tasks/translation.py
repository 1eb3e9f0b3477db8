"""Translation: cross-entropy of each token of a target given its source and the tokens before it, and the decoding of sources.

Reference:
  Vaswani et al., "Attention Is All You Need", 2017, sections 5 and 6.1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.decoding import BeamOptions, beam_search
from efficient_attn.models import Functional, Seq2Seq, Sequence
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Translation:
    """The training objective: mean cross-entropy over the tokens of all targets of a batch, one term, ``"loss"``.

    Args:
      model: an encoder-decoder's form.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
      z_loss: share of the square of the logits' log-sum-exp that is added to the loss of each token.
    """

    model: Functional[Seq2Seq]
    label_smoothing: float
    mean: Any
    z_loss: float = 0.0

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Tokens of targets, their ends included."""
        return {"loss": jnp.sum(batch["target_segments"] > 0, dtype=jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        source, target = texts(batch, "source"), texts(batch, "target")
        logits = self.model.module(params)(source, target, key)
        losses = cross_entropy(logits, target.tokens, self.label_smoothing, self.z_loss)
        total = jnp.sum(jnp.where(target.segments > 0, losses, 0.0))
        return {"loss": self.mean(total, self.counts(batch)["loss"])}, carry


def texts(batch: Batch, name: str) -> Sequence:
    """One side of a batch of ``data.pair_rows``."""
    return Sequence(
        tokens=jnp.asarray(batch[name]),
        segments=jnp.asarray(batch[f"{name}_segments"]),
        positions=jnp.asarray(batch[f"{name}_positions"]),
    )


def pair_score_step(model: Functional[Seq2Seq], rows: Any = None, whole: Any = None):
    """A jitted function from parameters and a batch to the nats of its targets' tokens, their number, and how many of them were
    given the greatest probability; each for every row.

    Args:
      model: an encoder-decoder's form.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        target = texts(batch, "target")
        logits, scored = model.module(params)(texts(batch, "source"), target), target.segments > 0
        nats = jnp.where(scored, cross_entropy(logits, target.tokens), 0.0).sum(-1)
        right = scored & (jnp.argmax(logits, axis=-1) == target.tokens)
        return nats, scored.sum(-1), right.sum(-1)

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)


def translate_step(model: Functional[Seq2Seq], options: BeamOptions, rows: Any = None, whole: Any = None):
    """A jitted function from parameters and a batch of sources, one a row, to the best target that is found for each.

    Args:
      model: an encoder-decoder's form.
      options: of the search.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> jax.Array:
        source = texts(batch, "source")
        return beam_search(model, params, source, options.within(source.tokens.shape[1])).tokens[:, 0]

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
