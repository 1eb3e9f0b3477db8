"""The scores of a Synthesizer as modules: the parameters of one kind, and its scores of some queries for all keys.

Each is called with tokens ``[B, T, D]``, the position of the first of them and the number of keys ``S``, and gives scores
``[B, N, T, S]``, or ``[N, T, S]`` where they are the same for every input.

Reference:
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, section 3 and table 1: parameters per layer.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from efficient_attn.nn.constant import Constant
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops import synthesizer


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreSizes:
    """What a kind of scores is built for."""

    width: int
    heads: int
    length: int
    """Positions that have scores."""
    rank: int
    """Of factorized tables."""
    factors: tuple[int, int]
    """Lengths of the two factors of factorized dense scores; their product is at least ``length``."""
    deviation: float
    """Standard deviation of random scores at first."""
    init: Initialization


First = int | Int[Array, ""]


class RandomScores(nnx.Module):
    """A trained table: ``N L^2`` parameters."""

    def __init__(self, sizes: ScoreSizes, rngs: nnx.Rngs):
        self.table = nnx.Param(_table(sizes, rngs))

    def __call__(self, x: Float[Array, "B T D"], first: First, keys: int) -> Float[Array, "N T S"]:
        """Rows of the table."""
        table = self.table[...].astype(x.dtype)
        return synthesizer.random_logits(table, query_length=x.shape[1], key_length=keys, first_query=first)


class FixedRandomScores(nnx.Module):
    """A table that stays as it was drawn: no parameters."""

    def __init__(self, sizes: ScoreSizes, rngs: nnx.Rngs):
        self.table = Constant(_table(sizes, rngs))

    def __call__(self, x: Float[Array, "B T D"], first: First, keys: int) -> Float[Array, "N T S"]:
        """Rows of the table."""
        table = jax.lax.stop_gradient(self.table[...]).astype(x.dtype)
        return synthesizer.random_logits(table, query_length=x.shape[1], key_length=keys, first_query=first)


class FactorizedRandomScores(nnx.Module):
    """A trained table of low rank: ``2 N L k`` parameters."""

    def __init__(self, sizes: ScoreSizes, rngs: nnx.Rngs):
        # A sum of k products of two independent entries then has the deviation asked for.
        draw = nnx.initializers.normal(math.sqrt(sizes.deviation / math.sqrt(sizes.rank)))
        shape = (sizes.heads, sizes.length, sizes.rank)
        self.left, self.right = nnx.Param(draw(rngs.params(), shape)), nnx.Param(draw(rngs.params(), shape))

    def __call__(self, x: Float[Array, "B T D"], first: First, keys: int) -> Float[Array, "N T S"]:
        """Rows of the product."""
        left, right = self.left[...].astype(x.dtype), self.right[...].astype(x.dtype)
        return synthesizer.factorized_random_logits(
            left, right, query_length=x.shape[1], key_length=keys, first_query=first
        )


class DenseScores(nnx.Module):
    """A network of two layers on each token: ``D^2 + D L`` parameters."""

    def __init__(self, sizes: ScoreSizes, rngs: nnx.Rngs):
        head = sizes.width // sizes.heads
        weight = sizes.init.weight
        self.hidden = nnx.Param(weight(sizes.width)(rngs.params(), (sizes.width, sizes.heads, head)))
        self.outward = nnx.Param(weight(head)(rngs.params(), (sizes.heads, head, sizes.length)))

    def __call__(self, x: Float[Array, "B T D"], first: First, keys: int) -> Float[Array, "B N T S"]:
        """The network's output for the first key positions; where the queries lie changes nothing."""
        del first
        return synthesizer.dense_logits(
            x, self.hidden[...].astype(x.dtype), self.outward[...].astype(x.dtype), length=keys
        )


class FactorizedDenseScores(nnx.Module):
    """The same network with two short outputs, multiplied: ``D^2 + D (a + b)`` parameters."""

    def __init__(self, sizes: ScoreSizes, rngs: nnx.Rngs):
        head = sizes.width // sizes.heads
        weight = sizes.init.weight
        self.hidden = nnx.Param(weight(sizes.width)(rngs.params(), (sizes.width, sizes.heads, head)))
        self.first, self.second = (
            nnx.Param(weight(head)(rngs.params(), (sizes.heads, head, size))) for size in sizes.factors
        )

    def __call__(self, x: Float[Array, "B T D"], first: First, keys: int) -> Float[Array, "B N T S"]:
        """The products for the first key positions; where the queries lie changes nothing."""
        del first
        hidden, one, other = (w[...].astype(x.dtype) for w in (self.hidden, self.first, self.second))
        return synthesizer.factorized_dense_logits(x, hidden, one, other, length=keys)


Scores = RandomScores | FixedRandomScores | FactorizedRandomScores | DenseScores | FactorizedDenseScores


def _table(sizes: ScoreSizes, rngs: nnx.Rngs) -> Float[Array, "N L L"]:
    shape = (sizes.heads, sizes.length, sizes.length)
    return sizes.deviation * jax.random.normal(rngs.params(), shape, jnp.float32)
