"""What a decoder remembers while it writes: the keys and values that its pattern can still use, and no others.

Which key lives in which slot is decided before the first token, from the pattern alone: a key keeps its slot until the last
query that may see it, then the slot is given to a new key. A window of ``w`` keys needs ``w`` slots, a fixed pattern its own run
and the summary columns, whatever the length.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efficient_attn.patterns.algebra import Pattern, union_of_heads
from efficient_attn.patterns.box import Box


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of one layer by slot."""

    key: Float[Array, "*layers B S K H"]
    value: Float[Array, "*layers B S K Hv"]
    positions: Int[Array, "*layers S"]
    """Position of the key in each slot, -1 where there is none yet."""

    def write(self, slot: jax.Array, position: jax.Array, key: jax.Array, value: jax.Array) -> "Cache":
        """The cache with one token's key and value ``[B, 1, K, H]`` in ``slot``."""
        return Cache(
            jax.lax.dynamic_update_slice_in_dim(self.key, key.astype(self.key.dtype), slot, 1),
            jax.lax.dynamic_update_slice_in_dim(self.value, value.astype(self.value.dtype), slot, 1),
            jax.lax.dynamic_update_slice_in_dim(self.positions, position[None].astype(jnp.int32), slot, 0),
        )

    def chosen(self, rows: Int[Array, " B"]) -> "Cache":
        """The cache of some of the texts, in this order, which may have one more than once."""
        key, value = (jnp.take(x, rows, axis=-4) for x in (self.key, self.value))
        return Cache(key, value, self.positions)


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


@functools.lru_cache(maxsize=64)
def slots(pattern: Pattern, length: int) -> tuple[np.ndarray, int]:
    """The slot of each position, int32 ``[length]``, and how many slots there are.

    Args:
      pattern: a causal pattern (what it allows ahead of the query is never asked).
      length: tokens that will be decoded at most.

    Cost: O(length * log(length)) interval tests.
    """
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
    return slot_of, used


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
