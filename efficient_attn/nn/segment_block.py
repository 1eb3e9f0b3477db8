"""A residual block over a segment and a memory of its own earlier inputs."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.block import NormPlace, enter, leave
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.span_attention import SpanAttention


class SegmentBlock(nnx.Module):
    """``Block`` with attention over learned spans.

    Args:
      attention: over spans.
      feedforward: the second sublayer.
      norm: before the sublayers, or after the sums.
      width: size of the residual stream.
      dropout: of the sublayers' outputs.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        attention: SpanAttention,
        feedforward: FeedForward,
        norm: NormPlace,
        width: int,
        dropout: float,
        *,
        rngs: nnx.Rngs,
    ):
        self.attention, self.feedforward, self.norm, self.dropout = attention, feedforward, norm, dropout
        self.attention_norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.feedforward_norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: dict[str, jax.Array],
        position_keys: Float[Array, "H L"],
        key: jax.Array | None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "#B #T"]]:
        """The block on a segment, and the penalty of its spans for each token.

        Args:
          x: the segment.
          memory: ``inputs`` of the tokens before it, and how many are ``known``.
          position_keys: a key for each distance, from 1 on.
          key: randomness of the dropout; None is without.
        """
        keys = [None] * 4 if key is None else list(jax.random.split(key, 4))
        entered = enter(x, self.attention_norm, self.norm)
        before = enter(memory["inputs"].astype(x.dtype), self.attention_norm, self.norm)
        mixed = self.attention(entered, before, memory["known"], position_keys, keys[0])
        penalty = self._penalty(entered)
        x = leave(x, drop(mixed, self.dropout, keys[1]), self.attention_norm, self.norm)
        hidden = self.feedforward(enter(x, self.feedforward_norm, self.norm), self.attention.mechanism.dropout, keys[2])
        return leave(x, drop(hidden, self.dropout, keys[3]), self.feedforward_norm, self.norm), penalty

    def step(
        self,
        x: Float[Array, "B 1 D"],
        cache: Cache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
        position_keys: Float[Array, "H L"],
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """The block on one token, over the cache."""
        mixed, cache = self.attention.step(
            enter(x, self.attention_norm, self.norm), cache, position, slot, position_keys
        )
        x = leave(x, mixed, self.attention_norm, self.norm)
        hidden = self.feedforward(enter(x, self.feedforward_norm, self.norm))
        return leave(x, hidden, self.feedforward_norm, self.norm), cache

    def _penalty(self, entered: Float[Array, "B T D"]) -> Float[Array, "#B #T"]:
        mechanism = self.attention.mechanism
        if mechanism.spans == "fixed":
            return jnp.zeros((1, 1), jnp.float32)
        spans = self.attention.spans(entered)
        spans = spans[None, None] if spans.ndim == 1 else spans
        return mechanism.coefficient * spans.astype(jnp.float32).mean(-1)
