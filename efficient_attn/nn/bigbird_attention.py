"""BigBird's self-attention: projections around windows of blocks, blocks at both ends, and random blocks."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from efficient_attn.kernels import attend
from efficient_attn.nn.attention import linear
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.bigbird import bigbird_attention, draw_blocks, draw_early_blocks
from efficient_attn.patterns.algebra import Full, Pattern, whole_number
from efficient_attn.precision import Precision
from efficient_attn.sharding import HEADS, on_mesh


@dataclasses.dataclass(frozen=True, kw_only=True)
class BigBird:
    """Attention over blocks, as a choice of a config."""

    block: int = 64
    """Tokens in a block."""
    random_blocks: int = 3
    """Random blocks that a block of queries sees."""
    seed: int = 0
    """Of the random blocks; layer ``l`` draws with ``seed + l``."""
    early_lengths: tuple[int, ...] = (1024, 2048, 3072, 4096)
    """Lengths at which random blocks lie in the first 1,024 tokens, as in the paper's models; transformers leaves out 2048."""
    longest: int = 4096
    """Tokens in the longest sequence of the model, for which those are drawn."""
    drawn: bool = True
    """False: every random block is the first block, as in the evaluation of transformers."""
    draws: int = 12
    """Different draws, which the layers take in turn: as many as there are layers in released models."""
    count_repeats: bool = False
    """Whether a key counts as often as its block is listed, as in released code."""
    separator: int = 66
    """The token that ends a question."""

    def __post_init__(self):
        for name, least in (
            ("block", 1),
            ("random_blocks", 0),
            ("seed", 0),
            ("longest", 1),
            ("draws", 1),
            ("separator", 0),
        ):
            whole_number(getattr(self, name), name, least=least)

    def parsed(self) -> tuple[Pattern, ...]:
        """An entry for each draw of random blocks; which blocks are seen depends on the length and the head."""
        return (Full(),) * (self.draws if self.drawn and self.random_blocks else 1)

    def question(self, tokens: Int[Array, "B T"]) -> Bool[Array, "B T"]:
        """Whether a token is at or before the first separator; of a text without one, the first token is."""
        end = jnp.argmax(tokens == self.separator, axis=1)
        return jnp.arange(tokens.shape[1]) <= end[:, None]

    def table(self, tokens: int, heads: int, layer: int) -> Int32[np.ndarray, "N rows count"] | None:
        """Random blocks of a layer; None for a text so short that it is attended to densely, as in released code.

        Raises:
          ValueError: if ``tokens`` is one of ``early_lengths`` and more than ``longest``.
        """
        blocks, count = -(-tokens // self.block), self.random_blocks
        if blocks <= 2 * count + 5:
            return None
        if not self.drawn:
            return np.zeros((heads, blocks - 2, count), np.int32)
        if tokens in self.early_lengths:
            return draw_early_blocks(blocks, heads, count, self.seed + layer, block=self.block, longest=self.longest)
        return draw_blocks(blocks, heads, count, self.seed + layer)


class BigBirdAttention(nnx.Module):
    """Queries, keys and values by projection, BigBird's attention, and a projection back.

    Args:
      width: size of the residual stream.
      heads: heads, which divide it.
      init: standard deviations.
      precision: formats.
      bigbird: blocks.
      layer: place of the layer in the cycle, which decides its random blocks.
      bias: whether queries, keys and values have one.
      dropout: probability of dropping an attention weight of a text so short that it is attended to densely.
      rngs: randomness of the initial parameters.

    Raises:
      ValueError: if the heads do not divide the width.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        init: Initialization,
        precision: Precision,
        *,
        bigbird: BigBird,
        layer: int = 0,
        bias: bool = True,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ):
        if width % heads:
            raise ValueError(f"heads must divide the width, got {heads} heads and a width of {width}")
        self.heads, self.bigbird, self.layer, self.dropout = heads, bigbird, layer, dropout
        project = linear(precision, bias, rngs)
        for name in ("query", "key", "value"):
            setattr(self, name, project(width, width, kernel_init=init.weight(width)))
        self.output = linear(precision, True, rngs)(width, width, kernel_init=init.residual(width))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        key_mask: Bool[Array, "B T"] | None = None,
        global_mask: Bool[Array, "B T"] | None = None,
        key: jax.Array | None = None,
    ) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``.

        Args:
          x: the tokens.
          key_mask: False hides a token; in a text longer than a few blocks its result is the output projection's bias.
          global_mask: None: the first and the last block are global, whatever they hold.
          key: randomness of the dropout, of which there is none in a text longer than a few blocks, as in released code.

        Returns:
          What is added to the residual stream.

        Raises:
          ValueError: if there is a global mask.
        """
        if global_mask is not None:
            raise ValueError("BigBird's global tokens are its first and its last block: it takes no global_mask")
        local = tuple(split_heads(project(x), self.heads) for project in (self.query, self.key, self.value))
        options = {"key_mask": key_mask, "query_spec": on_mesh(HEADS)}
        random = self.bigbird.table(x.shape[1], self.heads, self.layer)
        if random is None:
            dropped: dict[str, Any] = {} if key is None else {"dropout_rate": self.dropout, "dropout_key": key}
            return self.output(join_heads(attend(*local, Full(), **options, **dropped)))
        repeats = self.bigbird.count_repeats
        mixed = bigbird_attention(*local, block=self.bigbird.block, random=random, count_repeats=repeats, **options)
        return self.output(join_heads(mixed))
