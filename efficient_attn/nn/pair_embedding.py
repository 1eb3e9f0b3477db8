"""Tokens of sources and targets into the residual streams, and the logits of targets: one table for all, or several.

Reference:
  Press, Wolf, "Using the Output Embedding to Improve Language Models", 2017, section 2 (one table for all three).
"""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.embedding import SinusoidalPositions, TablePositions, embed_positions, position_tables
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.relative_buckets import RelativeBuckets
from efficient_attn.nn.token_table import Scaling, TokenTable
from efficient_attn.precision import Precision

Sharing = Literal["all", "tokens", "target", "none"]


class PairEmbedding(nnx.Module):
    """The beginning of both streams, and the end of one.

    Args:
      vocab: distinct tokens, of source and target alike.
      width: size of the residual streams.
      positions: sinusoids, or learned tables, of which source and target have their own; nothing for buckets of offsets.
      scaling: of the tables.
      sharing: which of source tokens, target tokens and logits have one table: all three, the first two, the last two, or none.
      precision: formats.
      source_vector: whether a learned vector is added to all source tokens.
      rngs: randomness of the initial parameters.
    """

    def __init__(
        self,
        vocab: int,
        width: int,
        positions: SinusoidalPositions | TablePositions | RelativeBuckets,
        scaling: Scaling,
        sharing: Sharing,
        precision: Precision,
        *,
        source_vector: bool,
        rngs: nnx.Rngs,
    ):
        table = lambda scaling=scaling: TokenTable(vocab, width, scaling, precision, rngs)  # noqa: E731
        self.scheme, self.width = positions, width
        self.target = table()
        self.source = None if sharing in ("all", "tokens") else table()
        # A table of logits alone is drawn small beside one of tokens, and its logits are as they come, as in T5 1.1.
        heads = {"none": scaling, "tokens": "scaled"}
        self.head = table(heads[sharing]) if sharing in heads else None
        # Tables as large at first as those of BERT: the other schemes say nothing of them.
        init = Initialization("bert", 1)
        self.source_tables, self.target_tables = (
            nnx.List(position_tables(positions, width, init, rngs)) for _ in range(2)
        )
        draw = nnx.initializers.normal(width**-0.5)
        self.vector = nnx.Param(draw(rngs.params(), (width,), jnp.float32)) if source_vector else None

    def of_source(self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The beginning of the encoder's stream, float32."""
        x = (self.source or self.target)(tokens)
        x = x + embed_positions(self.scheme, self.source_tables, positions, self.width)
        return x if self.vector is None else x + self.vector[...]

    def of_target(self, tokens: Int[Array, "B T"], positions: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The beginning of the decoder's stream, float32, from the tokens before those at ``positions``."""
        return self.target(tokens) + embed_positions(self.scheme, self.target_tables, positions, self.width)

    def logits(self, x: Float[Array, "B T D"]) -> Float[Array, "B T V"]:
        """Scores of the tokens of a target, float32."""
        return (self.head or self.target).logits(x)
