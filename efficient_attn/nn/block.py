"""A residual block: attention and feed-forward, each around a layer norm and a dropout."""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.patterns.algebra import Pattern

NormPlace = Literal["pre", "post"]


class Block(nnx.Module):
    """``h + attention(norm(h))``, then the same with the feed-forward; norms after the sums where ``norm`` is "post"."""

    def __init__(
        self, attention: SelfAttention, feedforward: FeedForward, norm: NormPlace, width: int, *, rngs: nnx.Rngs
    ):
        self.attention, self.feedforward, self.norm = attention, feedforward, norm
        # Statistics and the residual stream stay float32 whatever the products are computed in.
        self.attention_norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)
        self.feedforward_norm = nnx.LayerNorm(width, epsilon=1e-5, rngs=rngs)

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, dropout: float, key: jax.Array | None
    ) -> Float[Array, "B T D"]:
        """The block on a whole sequence; ``key`` None is without dropout."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = self._add(x, self.attention_norm, lambda h: drop(self.attention(h, pattern), dropout, keys[0]))
        return self._add(x, self.feedforward_norm, lambda h: drop(self.feedforward(h), dropout, keys[1]))

    def step(
        self, x: Float[Array, "B 1 D"], pattern: Pattern, cache: Cache, position: Int[Array, ""], slot: Int[Array, ""]
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """The block on one token, over the cache."""
        kept = []

        def attend(h):
            mixed, after = self.attention.step(h, pattern, cache, position, slot)
            kept.append(after)
            return mixed

        x = self._add(x, self.attention_norm, attend)
        return self._add(x, self.feedforward_norm, self.feedforward), kept[0]

    def _add(self, x, norm, sublayer):
        if self.norm == "pre":
            return x + sublayer(norm(x)).astype(x.dtype)
        return norm(x + sublayer(x).astype(x.dtype))


def drop(x: Float[Array, "B T D"], rate: float, key: jax.Array | None) -> Float[Array, "B T D"]:
    """Dropout of features at ``rate``; the input itself without a key or at rate 0."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
