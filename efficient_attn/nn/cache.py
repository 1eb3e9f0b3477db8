"""What a decoder remembers while it writes: the keys and values that its pattern can still use, and no others.

Which key lives in which slot is decided before the first token, from the pattern alone: a key keeps its slot until the last
query that may see it, then the slot is given to a new key. A window of ``w`` keys needs ``w`` slots, a fixed pattern its own run
and the summary columns, whatever the length. A strided pattern needs all keys, but each query only those of its own residue: these
lie side by side, and no others are read.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efficient_attn.patterns.algebra import Pattern, union_of_heads
from efficient_attn.patterns.box import Box
from efficient_attn.patterns.layout import folded


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of one layer by slot."""

    key: Float[Array, "*layers B S K H"]
    value: Float[Array, "*layers B S K Hv"]
    positions: Int[Array, "*layers S"]
    """Position of the key in each slot, -1 where there is none yet."""
    run: int | None = dataclasses.field(default=None, metadata={"static": True})
    """Slots that a query may see the keys of: the run in which its own lies; None: all."""

    def write(self, slot: jax.Array, position: jax.Array, key: jax.Array, value: jax.Array) -> "Cache":
        """The cache with one token's key and value ``[B, 1, K, H]`` in ``slot``."""
        return Cache(
            jax.lax.dynamic_update_slice_in_dim(self.key, key.astype(self.key.dtype), slot, 1),
            jax.lax.dynamic_update_slice_in_dim(self.value, value.astype(self.value.dtype), slot, 1),
            jax.lax.dynamic_update_slice_in_dim(self.positions, position[None].astype(jnp.int32), slot, 0),
            self.run,
        )

    def seen(self, slot: jax.Array) -> "Cache":
        """What the query whose own key is in ``slot`` may see."""
        if self.run is None:
            return self
        first = slot // self.run * self.run
        cut = lambda x, axis: jax.lax.dynamic_slice_in_dim(x, first, self.run, axis)  # noqa: E731
        return Cache(cut(self.key, 1), cut(self.value, 1), cut(self.positions, 0))

    def chosen(self, rows: Int[Array, " B"]) -> "Cache":
        """The cache of some of the texts, in this order, which may have one more than once."""
        key, value = (jnp.take(x, rows, axis=-4) for x in (self.key, self.value))
        return Cache(key, value, self.positions, self.run)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HashedCache:
    """Queries, whose directions are the keys, values and buckets of one layer of LSH attention, by position."""

    query_key: Float[Array, "*layers B S N H"]
    value: Float[Array, "*layers B S N Hv"]
    buckets: Int[Array, "*layers B S N rounds"]

    def write(self, slot: jax.Array, query_key: jax.Array, value: jax.Array, buckets: jax.Array) -> "HashedCache":
        """The cache with one token's query, value and buckets ``[B, 1, N, ...]`` in ``slot``, its position."""
        new = (query_key.astype(self.query_key.dtype), value.astype(self.value.dtype), buckets)
        old = (self.query_key, self.value, self.buckets)
        return HashedCache(*(jax.lax.dynamic_update_slice_in_dim(a, b, slot, 1) for a, b in zip(old, new, strict=True)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecurrentState:
    """What a recurrent cell of one layer hands on to the next token."""

    state: Any
    """``[B, H]``, or a pair of such."""


AnyCache = Cache | HashedCache | RecurrentState


class Slots(NamedTuple):
    """Where keys are kept."""

    of: np.ndarray
    """The slot of each position, int32 ``[length]``."""
    count: int
    """How many slots there are."""
    run: int | None
    """As of ``Cache``."""


@functools.lru_cache(maxsize=64)
def slots(pattern: Pattern, length: int) -> Slots:
    """Where the keys of a pattern are kept.

    Args:
      pattern: a causal pattern (what it allows ahead of the query is never asked).
      length: tokens that will be decoded at most.

    Cost: O(length * log(length)) interval tests.
    """
    shared = _shared_slots(pattern, length)
    stride = folded(union_of_heads(pattern))
    run = -(-length // stride)
    # Where keys can be forgotten, that is worth more.
    if run >= shared.count or 2 * shared.count <= length:
        return shared
    positions = np.arange(length, dtype=np.int32)
    return Slots(positions % stride * run + positions // stride, stride * run, run)


def _shared_slots(pattern: Pattern, length: int) -> Slots:
    """Slots that are used again when the last query that may see their keys has been."""
    last = last_uses(pattern, length)
    expiring: list[list[int]] = [[] for _ in range(length + 1)]
    slot_of = np.zeros(length, np.int32)
    free: list[int] = []
    used = 0
    for position in range(length):
        free.extend(expiring[position])
        if free:
            slot = free.pop()
        else:
            slot, used = used, used + 1
        slot_of[position] = slot
        expiring[min(int(last[position]) + 1, length)].append(slot)
    return Slots(slot_of, used, None)


def cache_for(pattern: Pattern, length: int, empty: Callable[[int], AnyCache]) -> AnyCache:
    """An empty cache for so many tokens, made by ``empty`` from the number of slots."""
    _, count, run = slots(pattern, length)
    cache = empty(count)
    return dataclasses.replace(cache, run=run) if isinstance(cache, Cache) else cache


def last_uses(pattern: Pattern, length: int) -> np.ndarray:
    """The last query that may see each key, at least the key's own position: int64 ``[length]``, by bisection on intervals."""
    pattern = union_of_heads(pattern)
    keys = np.arange(length, dtype=np.int32)
    low, high = keys.copy(), np.full(length, length - 1, np.int32)
    while (low < high).any():
        middle = (low + high + 1) // 2
        may, _ = pattern.bounds(Box.of(middle, np.full_like(middle, length - 1), keys, keys))
        low, high = np.where(may, middle, low), np.where(may, high, middle - 1)
    return low


def empty_cache(slots: int, batch: int, key_heads: int, sizes: tuple[int, int], dtype) -> Cache:
    """A cache without a key; ``sizes`` are those of key and value heads."""
    key, value = (jnp.zeros((batch, slots, key_heads, size), dtype) for size in sizes)
    return Cache(key, value, jnp.full((slots,), -1, jnp.int32))
