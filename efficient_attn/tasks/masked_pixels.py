"""Telling masked pixels: cross-entropy of the pixels that are not shown, given all others.

Reference:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, sections 2.2 and 4.6.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.models import Decoder, Functional, masked_logits
from efficient_attn.tasks.language_modelling import cross_entropy
from efficient_attn.tasks.masked_modelling import told_scores

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class MaskedPixels:
    """The training objective, one term, ``"loss"``: of each image the mean over its masked pixels, and the mean of these.

    Args:
      model: a decoder's form, with patterns that see what comes after.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
    """

    model: Functional[Decoder]
    label_smoothing: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Images that have a masked pixel."""
        return {"loss": jnp.sum(jnp.any(batch["told"], axis=1), dtype=jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        logits, told = masked_logits(self.model.module(params), batch["inputs"], key), batch["told"]
        losses = jnp.where(told, cross_entropy(logits, batch["tokens"], self.label_smoothing), 0.0)
        means = losses.sum(1) / jnp.maximum(told.sum(1), 1)
        return {"loss": self.mean(means.sum(), self.counts(batch)["loss"])}, carry


def masked_pixels_score_step(model: Functional[Decoder], rows: Any = None, whole: Any = None):
    """A jitted function from parameters and an evaluation batch to the nats of its masked pixels, their number, and how many of
    them were given the greatest probability; each for every row.

    Args:
      model: a decoder's form.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        logits, tokens = masked_logits(model.module(params), batch["inputs"]), batch["tokens"]
        told = batch["scored"] & batch["told"]
        return told_scores(logits, tokens, told)

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
