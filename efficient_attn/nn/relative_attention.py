"""Self-attention over a pattern with Transformer-XL's relative positions."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.nn.attention import SelfAttention, linear
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.sparse import Sparse
from efficient_attn.ops.relative import key_features, position_features
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relative(Sparse):
    """Attention over the same kind of patterns that knows offsets by itself: a model with it has ``NoPositions``."""


class RelativeAttention(SelfAttention):
    """``SelfAttention`` whose scores depend on offsets too; each layer has a projection of them, and biases ``u`` and ``v``.

    Products of queries and keys are in float32, as in the Longformer's character models, which half precision made NaN.

    Args:
      width: size of the residual stream, which is that of the sines and cosines too.
      heads: query heads.
      key_heads: key and value heads, a divisor of ``heads``.
      qk_width: size of all query heads together.
      init: standard deviations.
      precision: formats.
      rngs: randomness of the initial parameters.
      options: of ``SelfAttention``.

    Reference:
      Dai et al., "Transformer-XL", 2019, section 3.3.
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
        rngs: nnx.Rngs,
        **options: Any,
    ):
        super().__init__(width, heads, key_heads, qk_width, init, precision, rngs=rngs, **options)
        self.relative = linear(precision, False, rngs)(width, qk_width, kernel_init=init.weight(width))
        zeros = jnp.zeros((heads, self.sizes[0]), jnp.dtype(precision.parameters))
        self.content_bias, self.position_bias = nnx.Param(zeros), nnx.Param(zeros)

    def _mix(self, query: jax.Array, key: jax.Array, value: jax.Array, pattern: Pattern, **tokens: Any) -> jax.Array:
        slots = lambda x: jnp.arange(x.shape[1], dtype=jnp.int32)  # noqa: E731
        query, key = query.astype(jnp.float32), key.astype(jnp.float32)
        query = self._with_position(query, tokens.get("query_positions", slots(query)))
        own = key_features(tokens.get("key_positions", slots(key)), self.relative.in_features)
        shared = jnp.broadcast_to(own[None, :, None], (*key.shape[:3], own.shape[1]))
        key = jnp.concatenate([key, shared], axis=-1)
        return super()._mix(query, key, value, pattern, scale=self.sizes[0] ** -0.5, **tokens)

    def _with_position(self, query: Float[Array, "B T N H"], positions: jax.Array) -> Float[Array, "B T N HD"]:
        projection = self.relative.kernel[...].reshape(-1, self.heads, self.sizes[0]).astype(jnp.float32)
        where = position_features(query + self.position_bias[...], projection, positions)
        return jnp.concatenate([query + self.content_bias[...], where], axis=-1)
