"""Tables of tokens, looked up and, where they are shared, read backwards as logits.

    scaled: x = sqrt(D) E[token],  logits = h E^T,            E ~ N(0, 1 / D)
    plain:  x = E[token],          logits = h E^T / sqrt(D),  E ~ N(0, 1)

Both are the same function of their initial draw; they differ in how large a step of an optimiser is.

Reference:
  Vaswani et al., "Attention Is All You Need", 2017, section 3.4 (scaled); the translation example of Flax (plain).
"""

import math
from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.precision import Precision

Scaling = Literal["scaled", "plain"]


class TokenTable(nnx.Module):
    """One row for each token.

    Args:
      vocab: distinct tokens.
      width: size of the residual stream.
      scaling: which of the two forms.
      precision: formats.
      rngs: randomness of the initial parameters.
    """

    def __init__(self, vocab: int, width: int, scaling: Scaling, precision: Precision, rngs: nnx.Rngs):
        deviation = width**-0.5 if scaling == "scaled" else 1.0
        self.inward = math.sqrt(width) if scaling == "scaled" else 1.0
        self.outward = 1.0 if scaling == "scaled" else width**-0.5
        self.compute = jnp.dtype(precision.compute)
        draw = nnx.initializers.normal(deviation)
        self.tokens = nnx.Param(draw(rngs.params(), (vocab, width), jnp.dtype(precision.parameters)))

    def __call__(self, tokens: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The rows of tokens, float32."""
        return self.inward * self.tokens[...][tokens].astype(jnp.float32)

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """How well each token fits, float32."""
        x, table = x.astype(self.compute), self.tokens[...].astype(self.compute)
        return self.outward * jnp.einsum("btd,vd->btv", x, table, preferred_element_type=jnp.float32)
