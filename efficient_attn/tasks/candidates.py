"""Which of some candidates is right, by a number for each in every part of the texts that were read.

Reference:
  Beltagy, Peters, Cohan, "Longformer", 2020, section 6 and appendix E.1: WikiHop.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.fine_tuning import Batch
from efficient_attn.tasks.language_modelling import cross_entropy

# Far below any score, and finite where a row of a batch is filled up and has no candidate.
_NO_CANDIDATE = -1e9


@dataclasses.dataclass(frozen=True)
class CandidateLoss:
    """Nats of the right candidate, ``targets`` ``[B]``; batches are those of ``CandidateReading``."""

    def __call__(self, output: EncoderOutput, batch: Batch) -> Float[Array, " B"]:
        """One number a row."""
        return cross_entropy(candidate_scores(output, batch), batch["targets"])

    def counts(self, batch: Batch) -> Float[Array, " B"]:
        """Every row once."""
        return jnp.ones(batch["targets"].shape[0])

    def results(self, output: EncoderOutput, batch: Batch) -> dict[str, jax.Array]:
        """A score for each candidate."""
        return {"logits": candidate_scores(output, batch)}


def candidate_scores(output: EncoderOutput, batch: Batch) -> Float[Array, "B C"]:
    """The mean over the parts that are there of the number at each candidate's first token.

    Args:
      output: with ``logits`` ``[B, parts, T, 1]``.
      batch: ``valid`` ``[B, parts, T]``; ``entities`` ``[B, C]``, the candidates' first tokens, the same in each part, and
        ``candidates`` ``[B]``, how many there are.
    """
    at = jnp.take_along_axis(output.logits[..., 0], batch["entities"][:, None], axis=-1)
    there = batch["valid"].any(-1)[..., None]
    mean = jnp.where(there, at, 0.0).sum(1) / jnp.maximum(there.sum(1), 1)
    return jnp.where(jnp.arange(mean.shape[1]) < batch["candidates"][:, None], mean, _NO_CANDIDATE)
