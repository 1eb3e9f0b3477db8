"""Self-attention over a pattern: projections around ``attend``."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels import attend
from efficient_attn.nn.cache import Cache, empty_cache
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.positions import rotate
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh


class SelfAttention(nnx.Module):
    """Queries, keys and values by projection, attention over a pattern, and a projection back.

    Args:
      width: size of the residual stream.
      heads: query heads.
      key_heads: key and value heads, a divisor of ``heads``.
      qk_width: size of all query heads together.
      init: standard deviations.
      precision: formats.
      rotary: base of rotary positions, or None.
      value_width: size of all value heads together, were there as many as query heads; None: ``width``.
      biases: whether the projections have biases.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        key_heads: int,
        qk_width: int,
        init: Initialization,
        precision: Precision,
        *,
        rotary: float | None = None,
        value_width: int | None = None,
        biases: bool = True,
        rngs: nnx.Rngs,
    ):
        self.heads, self.key_heads, self.rotary = heads, key_heads, rotary
        value_width = width if value_width is None else value_width
        self.sizes = (qk_width // heads, value_width // heads)
        formats = linear_formats(precision, rngs, biases)
        out = {"kernel_init": init.weight(width), **formats}
        self.query = nnx.Linear(width, qk_width, **out)
        self.key = nnx.Linear(width, self.sizes[0] * key_heads, **out)
        self.value = nnx.Linear(width, self.sizes[1] * key_heads, **out)
        self.output = nnx.Linear(value_width, width, kernel_init=init.residual(value_width), **formats)

    def __call__(
        self, x: Float[Array, "B T D"], pattern: Pattern, key_mask: Bool[Array, "B T"] | None = None
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``; ``key_mask`` False hides a token from all others."""
        query, key, value = self._project(x, jnp.arange(x.shape[1], dtype=jnp.int32))
        tokens = {} if key_mask is None else {"key_mask": key_mask}
        return self._back(self._mix(query, key, value, pattern, query_spec=on_mesh(HEADS), **tokens))

    def recalled(
        self, x: Float[Array, "B T D"], pattern: Pattern, key: jax.Array | None, given: Given, memo: None
    ) -> tuple[Float[Array, "B T D"], None]:
        """``__call__`` for a layer that knows no mechanism: nothing is drawn from ``key``, nothing is to be remembered."""
        return self(x, pattern, given.key_mask), None

    def empty_cache(self, batch: int, slots: int) -> Cache:
        """A cache without a token."""
        return empty_cache(slots, batch, self.key_heads, self.sizes, self.query.dtype)

    def step(
        self, x: Float[Array, "B 1 D"], pattern: Pattern, cache: Cache, position: Int[Array, ""], slot: Int[Array, ""]
    ) -> tuple[Float[Array, "B 1 D"], Cache]:
        """One token at ``position`` over what the cache holds, itself included; equal to that row of ``__call__``."""
        query, key, value = self._project(x, position[None])
        cache = cache.write(slot, position, key, value)
        written = jnp.broadcast_to(cache.positions >= 0, (x.shape[0], cache.positions.shape[0]))
        mixed = self._mix(
            query,
            cache.key.astype(query.dtype),
            cache.value.astype(query.dtype),
            pattern,
            query_positions=position[None],
            key_positions=cache.positions,
            key_mask=written,
        )
        return self._back(mixed), cache

    def _mix(self, query: jax.Array, key: jax.Array, value: jax.Array, pattern: Pattern, **tokens: Any) -> jax.Array:
        """What the heads take from the keys; ``tokens`` says which keys there are and where they lie."""
        return attend(query, key, value, pattern, **tokens)

    def _project(self, x: Float[Array, "B T D"], positions: Int[Array, " T"]):
        query, key, value = self.query(x), self.key(x), self.value(x)
        query = query.reshape(*query.shape[:2], self.heads, self.sizes[0])
        key = key.reshape(*key.shape[:2], self.key_heads, self.sizes[0])
        value = value.reshape(*value.shape[:2], self.key_heads, self.sizes[1])
        if self.rotary is not None:
            query, key = rotate(query, positions, self.rotary), rotate(key, positions, self.rotary)
        return query, key, value

    def _back(self, mixed: Float[Array, "B T N H"]) -> Float[Array, "B T D"]:
        return self.output(mixed.reshape(*mixed.shape[:2], -1))


def linear_formats(precision: Precision, rngs: nnx.Rngs, biases: bool) -> dict[str, Any]:
    """What all projections of an attention are made with, beside their sizes and initial values."""
    return {
        "dtype": jnp.dtype(precision.compute),
        "param_dtype": jnp.dtype(precision.parameters),
        "use_bias": biases,
        "rngs": rngs,
    }
