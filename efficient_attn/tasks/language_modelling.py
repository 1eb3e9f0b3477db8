"""Language modelling over tokens of any kind: cross-entropy of each token given those before it, and its scores."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.models import Decoder, Functional
from efficient_attn.nn.stretches import over_stretches

Batch = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class LanguageModelling:
    """The training objective: mean cross-entropy over the valid tokens of a batch, one term, ``"loss"``.

    Args:
      model: a decoder's form.
      label_smoothing: probability spread evenly over the other tokens of the target distribution.
      mean: makes a term of its sum and count.
    """

    model: Functional[Decoder]
    label_smoothing: float
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Valid tokens."""
        return {"loss": jnp.sum(batch["valid"], dtype=jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        losses = token_losses(self.model.module(params), batch["tokens"], key, self.label_smoothing)
        total = jnp.sum(jnp.where(batch["valid"], losses, 0.0))
        return {"loss": self.mean(total, self.counts(batch)["loss"])}, carry


def token_losses(
    decoder: Decoder, tokens: jax.Array, key: jax.Array | None = None, label_smoothing: float = 0.0
) -> jax.Array:
    """Nats of each token ``[B, T]`` given those before it, by stretches of logits if the model asks for them."""

    def losses(hidden: jax.Array, targets: jax.Array, places: jax.Array) -> jax.Array:
        # What logits draw differs from stretch to stretch, and from what the hidden features drew.
        own = None if key is None else jax.random.fold_in(key, 2 + places[0, 0])
        return cross_entropy(decoder.logits(hidden, own), targets, label_smoothing)

    places = jnp.broadcast_to(jnp.arange(tokens.shape[1], dtype=jnp.uint32), tokens.shape)
    return over_stretches(losses, decoder.config.logits_stretch, decoder.hidden(tokens, key), tokens, places)


def cross_entropy(
    logits: jax.Array, targets: jax.Array, label_smoothing: float = 0.0, z_loss: float = 0.0
) -> jax.Array:
    """Nats of each target ``[B, T]``, against a smoothed target distribution if asked; less its entropy, so 0 is the least. With
    ``z_loss`` that many times the square of the logits' log-sum-exp is added.
    """
    log_total = jax.nn.logsumexp(logits, axis=-1)
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    drift = 0.0 if z_loss == 0.0 else z_loss * jnp.square(log_total)
    if label_smoothing == 0.0:
        return log_total - chosen + drift
    others = logits.shape[-1] - 1
    low, high = label_smoothing / others, 1.0 - label_smoothing
    entropy = -(high * math.log(high) + others * low * math.log(low))
    return log_total - (high - low) * chosen - low * logits.sum(-1) - entropy + drift


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """What a whole split was scored at."""

    nats: float
    """Sum over scored tokens."""
    tokens: int
    """Scored tokens."""
    right: int
    """Scored tokens that were given the greatest probability."""
    words: int | None
    """Words of the raw text, where it is text."""
    bytes_per_token: float = 1.0
    """Bytes of the raw data that a token stands for on average."""

    def report(self) -> dict[str, float | int]:
        """Loss in nats per token, bits per byte, perplexity per token and per word, accuracy."""
        loss = self.nats / self.tokens
        report: dict[str, float | int] = {
            "loss": loss,
            "bits_per_byte": loss / math.log(2) / self.bytes_per_token,
            "perplexity_per_token": math.exp(min(loss, 700.0)),
            "accuracy": self.right / self.tokens,
            "tokens": self.tokens,
        }
        if self.words:
            report["perplexity_per_word"] = math.exp(min(self.nats / self.words, 700.0))
        return report


def score_step(model: Functional[Decoder], rows: Any = None, whole: Any = None):
    """A jitted function from parameters and an evaluation batch to the nats of its scored tokens, their number, and how many
    of them were given the greatest probability; each for every row.

    Args:
      model: a decoder's form.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        decoder, tokens = model.module(params), batch["tokens"]

        def judge(hidden: jax.Array, targets: jax.Array) -> jax.Array:
            logits = decoder.logits(hidden)
            return jnp.stack([cross_entropy(logits, targets), jnp.argmax(logits, axis=-1) == targets], axis=-1)

        judged = over_stretches(
            judge, decoder.config.logits_stretch, decoder.hidden(tokens, valid=batch["valid"]), tokens
        )
        scored = batch["scored"] & batch["valid"]
        # Per row in float32: the host adds rows up in double precision, so a long split loses nothing.
        nats, right = jnp.moveaxis(jnp.where(scored[..., None], judged, 0.0).sum(1), -1, 0)
        return nats, scored.sum(-1), right

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)


def score(step: Any, params: Any, batches: Any, words: int | None) -> Score:
    """The score of a split from what ``step`` gives of all its batches."""
    return add_up((step(params, batch) for batch in batches), words)


def add_up(results: Iterable[Sequence[jax.Array]], words: int | None) -> Score:
    """Adds up nats, tokens and right ones of batches, given by row, one batch behind, so that the device is never idle.

    Raises:
      ValueError: if there are none.
    """
    total, pending = np.zeros(3), None
    for result in results:
        if pending is not None:
            total = total + _row_sums(pending)
        pending = result
    if pending is None:
        raise ValueError("there was nothing to score: the split has neither a window nor a segment")
    nats, tokens, right = total + _row_sums(pending)
    return Score(nats=float(nats), tokens=int(tokens), right=int(right), words=words)


def _row_sums(result: Sequence[jax.Array]) -> np.ndarray:
    """The sums over the rows of a batch, of each of what a step gives."""
    return np.array([np.asarray(rows).sum(dtype=np.float64) for rows in result])
