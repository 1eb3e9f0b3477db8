"""A residual block over a segment and a memory of its own earlier inputs."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.block import FeedForwardBlock, NormPlace, Residual
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.norm import make_norm
from efficient_attn.nn.span_attention import SpanAttention


class SegmentBlock(Residual):
    """A block with attention over learned spans.

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
        super().__init__(attention, feedforward, norm, width, rngs=rngs)
        self.dropout = dropout

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
        x, penalty = self._look(x, memory, position_keys, keys[:2])
        entered = self._enter(x, self.feedforward_norm)
        hidden = self.feedforward(entered, self.attention.mechanism.dropout, keys[2])
        return self._leave(x, drop(hidden, self.dropout, keys[3]), self.feedforward_norm), penalty

    def _look(
        self,
        x: Float[Array, "B T D"],
        memory: dict[str, jax.Array],
        position_keys: Float[Array, "H L"],
        keys: list[jax.Array | None],
    ) -> tuple[Float[Array, "B T D"], Float[Array, "#B #T"]]:
        """The stream after the attention, and the penalty of its spans."""
        entered = self._enter(x, self.attention_norm)
        before = self._enter(memory["inputs"].astype(x.dtype), self.attention_norm)
        mixed = self.attention(entered, before, memory["known"], position_keys, keys[0])
        penalty = self._penalty(entered)
        return self._leave(x, drop(mixed, self.dropout, keys[1]), self.attention_norm), penalty

    def step(
        self,
        x: Float[Array, "B 1 D"],
        cache: Cache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
        position_keys: Float[Array, "H L"],
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """The block on one token, over the cache."""
        entered = self._enter(x, self.attention_norm)
        mixed, cache = self.attention.step(entered, cache, position, slot, position_keys)
        return self._after(x, mixed), cache

    def _penalty(self, entered: Float[Array, "B T D"]) -> Float[Array, "#B #T"]:
        mechanism = self.attention.mechanism
        if mechanism.spans == "fixed":
            return jnp.zeros((1, 1), jnp.float32)
        spans = self.attention.spans(entered)
        spans = spans[None, None] if spans.ndim == 1 else spans
        return mechanism.coefficient * spans.astype(jnp.float32).mean(-1)


class SegmentAttentionBlock(SegmentBlock):
    """The first half of a block alone."""

    def __init__(self, attention: SpanAttention, norm: NormPlace, width: int, dropout: float, *, rngs: nnx.Rngs):
        self.attention, self.norm, self.dropout = attention, norm, dropout
        self.attention_norm = make_norm("layer", width, 1e-5, rngs)

    def __call__(
        self,
        x: Float[Array, "B T D"],
        memory: dict[str, jax.Array],
        position_keys: Float[Array, "H L"],
        key: jax.Array | None,
    ) -> tuple[Float[Array, "B T D"], Float[Array, "#B #T"]]:
        """Attention on a segment; as in ``SegmentBlock``."""
        keys = [None] * 2 if key is None else list(jax.random.split(key))
        return self._look(x, memory, position_keys, keys)

    def _after(self, x: Float[Array, "B T D"], mixed: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self._leave(x, mixed, self.attention_norm)


class SegmentFeedForwardBlock(FeedForwardBlock):
    """The second half of a block alone, which has no memory."""

    def __init__(self, feedforward: FeedForward, norm: NormPlace, width: int, dropout: float, *, rngs: nnx.Rngs):
        super().__init__(feedforward, norm, width, rngs=rngs)
        self.dropout = dropout

    def __call__(self, x: Float[Array, "B T D"], key: jax.Array | None) -> Float[Array, "B T D"]:
        """The feed-forward on any tokens; ``key`` None is without dropout."""
        return self._feed(x, self.dropout, key)
