"""One tile of scores inside a GPU kernel: products, bias, soft cap, who is visible, dropout; and the loop over tiles.

The forward pass and the gradient of queries hold a tile as ``[queries, keys]``, the gradient of keys and values the other way
round, so that no tile is transposed before a product.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas import triton

from efficient_attn.kernels import dropout
from efficient_attn.kernels.pallas_gpu.operands import Operands, Place, Shape
from efficient_attn.kernels.pallas_parts import LOG2_E, product


@dataclasses.dataclass(frozen=True)
class Tile:
    """A block of pairs: where it is, which way round, and the references to its operands."""

    shape: Shape
    place: Place
    refs: Operands
    query_axis: int
    """0 where queries lie along the first axis of the tile, 1 where along the second."""
    numbers: tuple[Any, Any, Any] | None
    """Seed, number of the batch row and number of the head, for dropout."""

    def load(self, name: str) -> jax.Array:
        """The tile's part of an operand."""
        return triton.load(self.place.part(name, self.refs[name], self.shape.block))

    def of_queries(self, name: str) -> jax.Array:
        """One number for each query, along the tile's axis of queries."""
        x = self.load(name)
        return x[:, None] if self.query_axis == 0 else x[None, :]

    def of_keys(self, name: str) -> jax.Array:
        """One number for each key, along the other."""
        x = self.load(name)
        return x[None, :] if self.query_axis == 0 else x[:, None]

    def slots(self) -> tuple[jax.Array, jax.Array]:
        """Slots of queries and keys, int32, of a size of 1 along the other's axis."""
        block = self.shape.block
        i, j = (at * block + jnp.arange(block, dtype=jnp.int32) for at in (self.place.row, self.place.column))
        return (i[:, None], j[None, :]) if self.query_axis == 0 else (i[None, :], j[:, None])

    def scores(self, query: jax.Array, key: jax.Array) -> jax.Array:
        """Scores before masking, float32: scaled products, plus bias, soft-capped."""
        settings = self.shape.settings
        left, right = (query, key) if self.query_axis == 0 else (key, query)
        scores = product(left, right, (1, 1)) * settings.scale
        if "bias" in self.refs:
            bias = self.load("bias").astype(jnp.float32)
            scores = scores + (bias if self.query_axis == 0 else bias.T)
        if settings.logits_soft_cap is not None:
            scores = settings.logits_soft_cap * _tanh(scores / settings.logits_soft_cap)
        return scores

    def visible(self, partial: bool) -> jax.Array | None:
        """Pairs that may attend; None for all of them."""
        found = [self._by_pattern()] if partial else []
        if "key_mask" in self.refs:
            found.append(self.of_keys("key_mask") != 0)
        if "query_segments" in self.refs:
            found.append(self.of_queries("query_segments") == self.of_keys("key_segments"))
        if not found:
            return None
        block = self.shape.block
        visible = jnp.ones((block, block), jnp.bool_)
        for part in found:
            visible = visible & part
        return visible

    def _by_pattern(self) -> jax.Array:
        i, j = self.slots()
        if "bits" not in self.refs:
            visible = self.shape.settings.pattern.allows(i, j)
        else:
            at = jnp.arange(self.shape.block, dtype=jnp.int32)
            words = triton.load(self.refs["bits"].at[self.place.tile, (at // 32)[:, None], at[None, :]])
            visible = jax.lax.shift_right_logical(words, (at % 32)[:, None]) & 1 == 1
        return visible & (j < self.shape.k_len) if self.shape.k_len % self.shape.block else visible

    def keep(self) -> jax.Array | None:
        """Dropout factors, ``1 / (1 - rate)`` or 0; None without dropout."""
        if self.numbers is None:
            return None
        seed, batch, head = self.numbers
        return dropout.factors(seed, batch, head, *self.slots(), self.shape.settings.dropout_rate)


def scalar(ref: Any, *index: Any) -> jax.Array:
    """One number of an array. The interpreter takes no Python integers as an index."""
    return triton.load(ref.at[tuple(jnp.asarray(i, jnp.int32) for i in index)])


def _tanh(x: jax.Array) -> jax.Array:
    """By exponentials, of the negative magnitude so that none overflows: Triton's own needs a library beside the compiler."""
    small = jnp.exp2((-2.0 * LOG2_E) * jnp.abs(x))
    size = (1.0 - small) / (1.0 + small)
    return jnp.where(x < 0, -size, size)


def over_line(refs: Operands, line: Any, visit: Callable[[Any, Any, bool, Any], Any], state: Any) -> Any:
    """``state`` after every live block of a line: ``visit(place along it, bitmap, whether partial, state)``."""

    def some(partial: bool, begin: Any, end: Any, state: Any) -> Any:
        def run(number, state):
            start, count, first = (scalar(refs["runs"], number, column) for column in range(3))

            def one(step, state):
                tile = scalar(refs["tiles"], first + step) if partial and "bits" in refs else None
                return visit(start + step, tile, partial, state)

            return jax.lax.fori_loop(0, count, one, state)

        return jax.lax.fori_loop(begin, end, run, state)

    begin, middle, end = (scalar(refs["bounds"], line, column) for column in range(3))
    return some(True, middle, end, some(False, begin, middle, state))
