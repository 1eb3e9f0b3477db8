"""Self-attention with alpha-entmax weights, alpha given or learned."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.ops.entmax import entmax_attention
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.sharding import refuse_sharded_sequence

# The authors' bounds: at 1 the gradient in alpha has no use, and above 2 sparsemax is passed.
_LEAST, _MOST = 1.01, 2.0


class EntmaxAttention(SelfAttention):
    """``SelfAttention`` with entmax in place of the softmax.

        alpha = clip(1 + sigmoid(a), 1.01, 2), one ``a`` for each head, drawn from a standard normal distribution

    Args:
      arguments: those of ``SelfAttention``.
      alpha: fixed for all heads; None: learned.
      rngs: randomness of the initial parameters.

    Reference:
      Correia, Niculae and Martins, "Adaptively Sparse Transformers", 2019, section 3.2 and released code.
    """

    def __init__(self, *arguments: Any, alpha: float | None, rngs: nnx.Rngs, **options: Any):
        super().__init__(*arguments, rngs=rngs, **options)
        self.fixed = alpha
        if alpha is None:
            self.alpha = nnx.Param(jax.random.normal(rngs.params(), (self.heads,), jnp.float32))

    def alphas(self) -> float | Float[Array, " N"]:
        """The alpha of each head, or of all."""
        if self.fixed is not None:
            return self.fixed
        return jnp.clip(1.0 + jax.nn.sigmoid(self.alpha[...]), _LEAST, _MOST)

    def _mix(self, query: jax.Array, key: jax.Array, value: jax.Array, pattern: Pattern, **tokens: Any) -> jax.Array:
        # Heads and batch are partitioned by the compiler: there is no kernel to map over shards.
        if tokens.pop("query_spec", None) is not None:
            refuse_sharded_sequence("entmax attention")
        return entmax_attention(query, key, value, pattern, self.alphas(), scale=self.scale, **tokens)
