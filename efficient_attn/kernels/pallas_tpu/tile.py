"""One tile of scores inside a TPU kernel: products, bias, soft cap, who is visible, dropout.

The forward pass and the gradient of queries hold queries along sublanes and keys along lanes, ``[queries, keys]``; the gradient
of keys and values holds the tile the other way round, so that every product of the backward pass is one the matrix unit does
without a transposition. Each function works in either orientation.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.kernels import dropout
from efficient_attn.kernels.bitmap import unpack
from efficient_attn.kernels.pallas_parts import product
from efficient_attn.kernels.pallas_tpu.operands import Operands, Place, Shape
from efficient_attn.patterns.algebra import Pattern

# Lanes of a vector register: numbers of one each fill a row of it.
LANES = 128


def upright(row: jax.Array) -> jax.Array:
    """``[1, n]`` to ``[n, 128]``, the same in every lane."""
    return jnp.broadcast_to(row, (LANES, row.shape[1])).T


def flat(column: jax.Array) -> jax.Array:
    """``[n, 128]``, the same in every lane, to ``[1, n]``."""
    return column.T[:1]


def spread(column: jax.Array, width: int) -> jax.Array:
    """``[n, 128]``, the same in every lane, to ``[n, width]``: whole registers are repeated, which costs nothing."""
    if width <= LANES:
        return column[:, :width]
    if width % LANES:
        return jnp.broadcast_to(column[:, :1], (column.shape[0], width))
    return jnp.concatenate([column] * (width // LANES), axis=1)


def over_lanes(x: jax.Array, combine: Callable[[jax.Array, jax.Array], jax.Array]) -> jax.Array:
    """``[n, width]`` combined to ``[n, 128]``, register by register: what is left is one number for each lane."""
    return functools.reduce(combine, [x[:, at : at + LANES] for at in range(0, x.shape[1], LANES)])


@dataclasses.dataclass(frozen=True)
class Tile:
    """A block of pairs in a kernel: where it is, which way round, and the references to its operands."""

    shape: Shape
    pattern: Pattern
    place: Place
    refs: Operands
    query_axis: int
    """0 where queries lie along sublanes, 1 where they lie along lanes."""

    def __getitem__(self, name: str) -> jax.Array:
        return self.refs[name][...]

    def _oriented(self, row: jax.Array, axis: int) -> jax.Array:
        """Numbers that lie along the lanes, ``[1, n]``, laid along ``axis``; one number stays one."""
        return row if axis == 1 or row.shape[1] == 1 else upright(row)[:, :1]

    def slots(self) -> tuple[jax.Array, jax.Array]:
        """Slots of queries and keys, int32, of a size of 1 along the other's axis."""
        block, q, k = self.shape.block, self.query_axis, 1 - self.query_axis
        sizes = lambda axis: (block, 1) if axis == 0 else (1, block)  # noqa: E731
        i = jax.lax.broadcasted_iota(jnp.int32, sizes(q), q) + self.place.row * block
        j = jax.lax.broadcasted_iota(jnp.int32, sizes(k), k) + self.place.column * block
        return i, j

    def scores(self) -> jax.Array:
        """Scores before masking, float32: scaled products, plus bias, soft-capped."""
        settings = self.shape.settings
        left, right = (self["query"], self["key"]) if self.query_axis == 0 else (self["key"], self["query"])
        scores = product(left, right, (1, 1)) * settings.scale
        for bias in self._biases():
            scores = scores + bias.astype(jnp.float32)
        if settings.logits_soft_cap is not None:
            scores = settings.logits_soft_cap * jnp.tanh(scores / settings.logits_soft_cap)
        return scores

    def _biases(self) -> list[jax.Array]:
        found = []
        if "bias" in self.refs:
            found.append(self["bias"] if self.query_axis == 0 else self["bias"].T)
        if "row_bias" in self.refs:
            found.append(self._oriented(self["row_bias"], self.query_axis))
        if "column_bias" in self.refs:
            found.append(self._oriented(self["column_bias"], 1 - self.query_axis))
        return found

    def segments_meet(self) -> jax.Array:
        """Whether the ranges of segment ids of the block's queries and keys overlap: a scalar."""
        queries, keys = self["query_segments"], self["key_segments"]
        return (jnp.min(queries) <= jnp.max(keys)) & (jnp.min(keys) <= jnp.max(queries))

    def visible_by_arrays(self) -> jax.Array | None:
        """Pairs that the key mask and the segments allow; None where there are neither."""
        visible = None
        if "key_mask" in self.refs:
            visible = self._oriented(self["key_mask"], 1 - self.query_axis) != 0
        if "query_segments" in self.refs:
            queries = self._oriented(self["query_segments"], self.query_axis)
            same = queries == self._oriented(self["key_segments"], 1 - self.query_axis)
            visible = same if visible is None else visible & same
        return visible

    def visible(self) -> jax.Array:
        """Pairs that may attend, in a block that is not full."""
        i, j = self.slots()
        visible = unpack(self["bits"]) if "bits" in self.refs else self.pattern.allows(i, j)
        if self.shape.k_len % self.shape.block:
            visible = visible & (j < self.shape.k_len)
        arrays = self.visible_by_arrays()
        return visible if arrays is None else visible & arrays

    def keep(self, numbers: Any) -> jax.Array | None:
        """Dropout factors, ``1 / (1 - rate)`` or 0; None without dropout.

        Args:
          numbers: reference to int32 ``[1 + B + N]`` in scalar memory: seed, numbers of batch rows, numbers of heads.
        """
        rate = self.shape.settings.dropout_rate
        if rate == 0.0:
            return None
        i, j = self.slots()
        batch = numbers[1 + self.place.batch]
        head = numbers[numbers.shape[0] - self.shape.heads + self.place.head]
        return dropout.factors(numbers[0].astype(jnp.uint32), batch, head, i, j, rate)
