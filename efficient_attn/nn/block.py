"""A residual block: attention and feed-forward, each around a norm and a dropout."""

from typing import Literal

import jax
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import Attention
from efficient_attn.nn.cache import AnyCache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.given import NOTHING
from efficient_attn.nn.norm import Norm, NormKind, make_norm
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.sharding import STREAM, constrain, fitting

NormPlace = Literal["pre", "post"]


class Residual(nnx.Module):
    """``h + attention(norm(h))``, then the same with the feed-forward; norms after the sums where ``norm`` is "post".

    Args:
      attention: the first sublayer.
      feedforward: the second.
      norm: before the sublayers, or after the sums.
      width: size of the residual stream.
      epsilon: of the norms.
      norm_kind: what the norms are.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        attention: nnx.Module,
        feedforward: nnx.Module,
        norm: NormPlace,
        width: int,
        *,
        epsilon: float = 1e-5,
        norm_kind: NormKind = "layer",
        rngs: nnx.Rngs,
    ):
        self.attention, self.feedforward, self.norm = attention, feedforward, norm
        # Statistics and the residual stream stay float32 whatever the products are computed in.
        self.attention_norm = make_norm(norm_kind, width, epsilon, rngs)
        self.feedforward_norm = make_norm(norm_kind, width, epsilon, rngs)

    def entered(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """What the attention reads of the residual stream."""
        return self._enter(x, self.attention_norm)

    def _enter(self, x: Float[Array, "B T D"], norm: Norm) -> Float[Array, "B T D"]:
        """What a sublayer reads of the residual stream."""
        return norm(x) if self.norm == "pre" else x

    def _leave(self, x: Float[Array, "B T D"], result: Float[Array, "B T D"], norm: Norm) -> Float[Array, "B T D"]:
        """The residual stream after a sublayer's result."""
        x = constrain(x + result.astype(x.dtype), fitting(STREAM, x.shape))
        return x if self.norm == "pre" else norm(x)

    def _after(self, x: Float[Array, "B T D"], mixed: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The residual stream after the attention's result and the feed-forward, without dropout."""
        return self.feed(self._leave(x, mixed, self.attention_norm))

    def feed(self, x: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        """The residual stream after the feed-forward, without dropout."""
        return self._feed(x, 0.0, None)

    def _feed(self, x: Float[Array, "B T D"], dropout: float, key: jax.Array | None) -> Float[Array, "B T D"]:
        """The residual stream after the feed-forward; ``key`` None is without dropout."""
        entered = self._enter(x, self.feedforward_norm)
        hidden_dropout = () if key is None else (self.feedforward.dropout, jax.random.fold_in(key, 1))
        hidden = self.feedforward(entered, *hidden_dropout)
        return self._leave(x, drop(hidden, dropout, key), self.feedforward_norm)


class Block(Residual):
    """A block over a whole sequence, or over one token and a cache."""

    attention: Attention

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The block on a whole sequence; ``key`` None is without dropout."""
        keys = (None, None) if key is None else jax.random.split(key)
        return self._feed(self._attend(x, pattern, dropout, keys[0]), dropout, keys[1])

    def step(
        self,
        x: Float[Array, "B 1 D"],
        pattern: Pattern,
        cache: AnyCache,
        position: Int[Array, ""],
        slot: Int[Array, ""],
    ) -> tuple[Float[Array, "B 1 D"], AnyCache]:
        """The block on one token, over the cache."""
        mixed, cache = self.attention.step(self._enter(x, self.attention_norm), pattern, cache, position, slot)
        return self._after(x, mixed), cache

    def _attend(self, x: jax.Array, pattern: Pattern, dropout: float, key: jax.Array | None) -> jax.Array:
        # A mechanism that draws numbers has its own: dropout's stay what they are without it.
        own = None if key is None else jax.random.fold_in(key, 1)
        mixed, _ = self.attention.recalled(self._enter(x, self.attention_norm), pattern, own, NOTHING, None)
        return self._leave(x, drop(mixed, dropout, key), self.attention_norm)


class AttentionBlock(Block):
    """The first half of a block alone."""

    def __init__(
        self,
        attention: Attention,
        norm: NormPlace,
        width: int,
        *,
        epsilon: float = 1e-5,
        norm_kind: NormKind = "layer",
        rngs: nnx.Rngs,
    ):
        self.attention, self.norm = attention, norm
        self.attention_norm = make_norm(norm_kind, width, epsilon, rngs)

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """Attention on a whole sequence; ``key`` None is without dropout."""
        return self._attend(x, pattern, dropout, key)

    def _after(self, x: Float[Array, "B T D"], mixed: Float[Array, "B T D"]) -> Float[Array, "B T D"]:
        return self._leave(x, mixed, self.attention_norm)


class FeedForwardBlock(Block):
    """The second half of a block alone: a function of each token, which needs no cache."""

    def __init__(
        self,
        feedforward: FeedForward,
        norm: NormPlace,
        width: int,
        *,
        epsilon: float = 1e-5,
        norm_kind: NormKind = "layer",
        rngs: nnx.Rngs,
    ):
        self.feedforward, self.norm = feedforward, norm
        self.feedforward_norm = make_norm(norm_kind, width, epsilon, rngs)

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The feed-forward on any tokens; ``key`` None is without dropout."""
        return self._feed(x, dropout, key)
