"""Telling the tokens that are taken away from a text, all at once or in an order that is drawn: MLM, PLM and MPNet.

All three tell the same tokens. They differ in what a token is told from, beside the tokens that are kept:

    MLM    whatever is shown in the places of the predicted tokens
    PLM    the predicted tokens before it in the order, but not how many are to come, nor where
    MPNet  those before it, and what is shown in the places of itself and of those after it

References:
  Devlin, Chang, Lee, Toutanova, "BERT", 2019, section 3.1 (task 1).
  Yang et al., "XLNet: Generalized Autoregressive Pretraining for Language Understanding", 2019, section 2.
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, section 2 and table 1.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efficient_attn.models import Encoder, EncoderConfig, Functional
from efficient_attn.models.two_stream import Streams, check_two_stream, read_streams
from efficient_attn.tasks.language_modelling import cross_entropy
from efficient_attn.tasks.masked_modelling import told_scores

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MLM:
    """Masked language modelling: each token from the whole shown text, independently of the others."""

    def check(self, config: EncoderConfig) -> None:
        """Any encoder does."""

    def hidden(self, encoder: Encoder, batch: Batch, key: jax.Array | None) -> Float[Array, "B P D"]:
        """What the head reads to tell the tokens."""
        states = encoder(batch["inputs"], batch["valid"], key=key).last_hidden_state
        return jnp.take_along_axis(states, batch["predicted"][..., None], axis=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MPNet:
    """Masked and permuted language modelling: every token sees the positions of the whole text."""

    def check(self, config: EncoderConfig) -> None:
        """A ValueError if the model cannot read two streams."""
        check_two_stream(config)

    def hidden(self, encoder: Encoder, batch: Batch, key: jax.Array | None) -> Float[Array, "B P D"]:
        """What the head reads to tell the tokens."""
        return read_streams(encoder, _streams(batch, batch["valid"]), key=key)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PLM:
    """Permuted language modelling: nothing stands in the place of a token that is not told yet.

    Its queries know their position alone, so ``asked`` must be the mask token throughout.
    """

    def check(self, config: EncoderConfig) -> None:
        """A ValueError if the model cannot read two streams."""
        check_two_stream(config)

    def hidden(self, encoder: Encoder, batch: Batch, key: jax.Array | None) -> Float[Array, "B P D"]:
        """What the head reads to tell the tokens."""
        rows = jnp.arange(len(batch["predicted"]))[:, None]
        kept = jnp.asarray(batch["valid"]).at[rows, batch["predicted"]].set(False)
        return read_streams(encoder, _streams(batch, kept), key=key)


TellingObjective = MLM | PLM | MPNet


def _streams(batch: Batch, shown: Bool[Array, "B T"]) -> Streams:
    return Streams(
        shown=batch["inputs"],
        told=own_tokens(batch),
        asked=batch["asked"],
        predicted=batch["predicted"],
        key_mask=jnp.concatenate([shown, batch["told"]], axis=1),
    )


def own_tokens(batch: Batch) -> jax.Array:
    """The predicted tokens ``[B, P]`` of a batch of ``data.permuted``."""
    return jnp.take_along_axis(jnp.asarray(batch["tokens"]), batch["predicted"], axis=1)


def told_logits(
    objective: TellingObjective, encoder: Encoder, batch: Batch, key: jax.Array | None = None
) -> Float[Array, "B P V"]:
    """Logits of the predicted tokens, in the order in which they are told."""
    return encoder.head(objective.hidden(encoder, batch, key), encoder.embedding.table(), None)["logits"]


@dataclasses.dataclass(frozen=True)
class PermutedModelling:
    """The training objective: mean cross-entropy over the predicted tokens of a batch, one term, ``"loss"``.

    Args:
      model: an encoder's form, with the head ``masked_lm``.
      objective: what a token is told from.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
    """

    model: Functional[Encoder]
    objective: TellingObjective
    label_smoothing: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Tokens that are to be told."""
        return {"loss": jnp.sum(batch["told"], dtype=jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        logits = told_logits(self.objective, self.model.module(params), batch, key)
        losses = cross_entropy(logits, own_tokens(batch), self.label_smoothing)
        total = jnp.sum(jnp.where(batch["told"], losses, 0.0))
        return {"loss": self.mean(total, self.counts(batch)["loss"])}, carry


def permuted_score_step(model: Functional[Encoder], objective: TellingObjective, rows: Any = None, whole: Any = None):
    """A jitted function from parameters and an evaluation batch to the nats of its predicted tokens, their number, and how
    many of them were given the greatest probability; each for every row.

    Args:
      model: an encoder's form.
      objective: what a token is told from.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        logits, tokens = told_logits(objective, model.module(params), batch), own_tokens(batch)
        told = batch["told"] & jnp.take_along_axis(batch["scored"], batch["predicted"], axis=1)
        return told_scores(logits, tokens, told)

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)
