"""Attention of bidirectional encoders, which sees masks of tokens instead of a cache.

The contract of every such module: ``module(x, key_mask, global_mask, key)``, where ``key_mask`` says False of hidden tokens,
``global_mask`` True of tokens that see and are seen by all, for a mechanism that has those, and ``key`` is the randomness of
dropout.
"""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import RelativeBias, attend
from efficient_attn.nn.attention import linear
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.weights import weights_of
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh


class EncoderAttention(nnx.Module):
    """Queries, keys and values by projection, attention over a static pattern, and a projection back.

    Args:
      width: size of the residual stream.
      heads: of queries, keys and values.
      init: standard deviations.
      precision: formats.
      pattern: which tokens may see which.
      dropout: probability of dropping an attention weight.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        init: Initialization,
        precision: Precision,
        *,
        pattern: Pattern,
        dropout: float,
        rngs: nnx.Rngs,
    ):
        self.heads, self.pattern, self.dropout = heads, pattern, dropout
        project = linear(precision, True, rngs)
        self.query = project(width, width, kernel_init=init.weight(width))
        self.key = project(width, width, kernel_init=init.weight(width))
        self.value = project(width, width, kernel_init=init.weight(width))
        self.output = project(width, width, kernel_init=init.residual(width))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        key_mask: Bool[Array, "B T"] | None = None,
        global_mask: Bool[Array, "B T"] | None = None,
        key: jax.Array | None = None,
        bias: RelativeBias | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``.

        Args:
          x: the tokens.
          key_mask: False hides a token from all.
          global_mask: not for this attention.
          key: randomness of the dropout; None is without.
          bias: of the scores, by offset.

        Raises:
          ValueError: if there is a global mask.
        """
        if global_mask is not None:
            raise ValueError("this attention has no global tokens, got a global mask; leave it out")
        settings = {"key_mask": key_mask, "bias": bias}
        over = lambda *heads, **drawn: attend(*heads, self.pattern, **settings, **drawn)  # noqa: E731
        return self.mixed(over, x, x, key)

    def weights(self, x: Float[Array, "B T D"], bias: RelativeBias | None = None) -> Float[Array, "B N T T"]:
        """The weight of each pair of tokens of ``x``, none of which is hidden, as in ``__call__``.

        Cost: O(B N T^2) memory, where ``__call__`` keeps none.
        """
        query, keys = (split_heads(project(x), self.heads) for project in (self.query, self.key))
        return weights_of(lambda value: attend(query, keys, value, self.pattern, bias=bias), keys)

    def mixed(
        self,
        over: Callable[..., jax.Array],
        x: Float[Array, "B T D"],
        seen: Float[Array, "B S D"],
        key: jax.Array | None,
    ) -> Float[Array, "B T D"]:
        """Attention by another rule than the pattern, with the same parameters.

        Args:
          over: attention from queries, keys and values, ``[B, T, N, H]``, and settings of ``attend``.
          x: the tokens that ask.
          seen: those that are asked.
          key: randomness of the dropout; None is without.
        """
        query = split_heads(self.query(x), self.heads)
        keys, value = (split_heads(project(seen), self.heads) for project in (self.key, self.value))
        dropped: dict[str, Any] = {} if key is None else {"dropout_rate": self.dropout, "dropout_key": key}
        return self.output(join_heads(over(query, keys, value, query_spec=on_mesh(HEADS), **dropped)))
