"""What a decoder remembers while it writes: the keys and values that its pattern can still use, and no others.

Which key lives in which slot is decided before the first token, from the pattern alone: a key keeps its slot until the last
query that may see it, then the slot is given to a new key. A window of ``w`` keys needs ``w`` slots, a fixed pattern its own run
and the summary columns, whatever the length. A strided pattern needs all keys, but each query only those of its own residue: these
lie side by side, and no others are read.

Heads and their features share one axis: by themselves 64 features take the room of the 128 that a row of a TPU's memory has.

The caches of a stack's layers lie stacked. A token is written into its own layer and slot and nothing else is moved, so that what a
token costs does not grow with what is kept.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.patterns.algebra import Pattern, union_of_heads
from efficient_attn.patterns.box import Box
from efficient_attn.patterns.layout import folded


class Seen(NamedTuple):
    """What one query may see of a layer."""

    key: Float[Array, "B S K H"]
    value: Float[Array, "B S K Hv"]
    positions: Int[Array, " S"]
    """As of ``Cache``."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Keys and values of one layer by slot."""

    key: Float[Array, "*layers B S KH"]
    value: Float[Array, "*layers B S KHv"]
    positions: Int[Array, "*layers S"]
    """Position of the key in each slot, -1 where there is none yet."""
    heads: int = dataclasses.field(metadata={"static": True})
    """``K``, heads that share the last axis of keys and of values."""
    run: int | None = dataclasses.field(default=None, metadata={"static": True})
    """Slots that a query may see the keys of: the run in which its own lies; None: all."""
    layer: Int[Array, ""] | None = None
    """Which of the stacked layers is written and seen; None: the arrays are of one layer."""

    def write(self, slot: jax.Array, position: jax.Array, key: jax.Array, value: jax.Array) -> "Cache":
        """The cache with one token's key and value ``[B, 1, K, H]`` in ``slot``."""
        return dataclasses.replace(
            self,
            key=_put(self.key, self.layer, join_heads(key), slot, 1),
            value=_put(self.value, self.layer, join_heads(value), slot, 1),
            positions=_put(self.positions, self.layer, position[None], slot, 0),
        )

    def seen(self, slot: jax.Array) -> Seen:
        """What the query whose own key is in ``slot`` may see, of its layer."""
        size = self.positions.shape[-1] if self.run is None else self.run
        first = slot // size * size
        key, value = (split_heads(_cut(x, self.layer, first, size, 1), self.heads) for x in (self.key, self.value))
        return Seen(key, value, _cut(self.positions, self.layer, first, size, 0))

    def chosen(self, rows: Int[Array, " B"]) -> "Cache":
        """The cache of some of the texts, in this order, which may have one more than once."""
        key, value = (jnp.take(x, rows, axis=-3) for x in (self.key, self.value))
        return dataclasses.replace(self, key=key, value=value)


class SeenHashed(NamedTuple):
    """All that is held of a layer of LSH attention, by position."""

    query_key: Float[Array, "B S N H"]
    value: Float[Array, "B S N Hv"]
    buckets: Int[Array, "B S N R"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class HashedCache:
    """Queries, whose directions are the keys, values and buckets of one layer of LSH attention, by position."""

    query_key: Float[Array, "*layers B S NH"]
    value: Float[Array, "*layers B S NHv"]
    buckets: Int[Array, "*layers B S NR"]
    heads: int = dataclasses.field(metadata={"static": True})
    """``N``."""
    layer: Int[Array, ""] | None = None
    """As of ``Cache``."""

    def write(self, slot: jax.Array, query_key: jax.Array, value: jax.Array, buckets: jax.Array) -> "HashedCache":
        """The cache with one token's query, value and buckets ``[B, 1, N, ...]`` in ``slot``, its position."""
        put = lambda old, new: _put(old, self.layer, join_heads(new), slot, 1)  # noqa: E731
        return dataclasses.replace(
            self,
            query_key=put(self.query_key, query_key),
            value=put(self.value, value),
            buckets=put(self.buckets, buckets),
        )

    def seen(self) -> SeenHashed:
        """All slots of its layer."""
        held = self.query_key, self.value, self.buckets
        return SeenHashed(*(split_heads(_of_layer(x, self.layer), self.heads) for x in held))


class SeenBlock(NamedTuple):
    """All that is held of a layer of attention within blocks."""

    key: Float[Array, "B C K H"]
    value: Float[Array, "B C K Hv"]
    slot_key: Float[Array, "B S K H"]
    slot_value: Float[Array, "B S K Hv"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BlockCache:
    """Keys and values of one layer: of each token of the block that is written, and of the slots of all blocks."""

    key: Float[Array, "*layers B C KH"]
    value: Float[Array, "*layers B C KHv"]
    slot_key: Float[Array, "*layers B S KH"]
    """Sums over the tokens so far, float32: so too the values."""
    slot_value: Float[Array, "*layers B S KHv"]
    heads: int = dataclasses.field(metadata={"static": True})
    """``K``."""
    layer: Int[Array, ""] | None = None
    """As of ``Cache``."""

    def write(
        self, position: jax.Array, token: tuple[jax.Array, jax.Array], parts: tuple[jax.Array, jax.Array]
    ) -> "BlockCache":
        """The cache after one token: key and value ``[B, 1, K, H]``, and its parts of its block's slots ``[B, k, K, H]``."""
        block, slots = self.key.shape[-2], parts[0].shape[1]
        place, first = position % block, position // block * slots
        put = lambda x, new: _put(x, self.layer, join_heads(new), place, 1)  # noqa: E731

        def add(x: jax.Array, part: jax.Array) -> jax.Array:
            return _put(x, self.layer, _cut(x, self.layer, first, slots, 1) + join_heads(part), first, 1)

        return dataclasses.replace(
            self,
            key=put(self.key, token[0]),
            value=put(self.value, token[1]),
            slot_key=add(self.slot_key, parts[0]),
            slot_value=add(self.slot_value, parts[1]),
        )

    def seen(self) -> SeenBlock:
        """All of its layer."""
        held = self.key, self.value, self.slot_key, self.slot_value
        return SeenBlock(*(split_heads(_of_layer(x, self.layer), self.heads) for x in held))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecurrentState:
    """What a recurrent cell of one layer hands on to the next token."""

    state: Any
    """``[*layers, B, H]``, or a pair of such."""
    layer: Int[Array, ""] | None = None
    """As of ``Cache``."""

    def write(self, state: Any) -> "RecurrentState":
        """The state after a token, ``[B, H]`` or a pair of such."""
        if self.layer is None:
            return RecurrentState(state)
        put = lambda old, new: jax.lax.dynamic_update_index_in_dim(old, new.astype(old.dtype), self.layer, 0)  # noqa: E731
        return RecurrentState(jax.tree.map(put, self.state, state), self.layer)

    def seen(self) -> Any:
        """The state of its layer."""
        return jax.tree.map(lambda x: _of_layer(x, self.layer), self.state)


AnyCache = Cache | HashedCache | BlockCache | RecurrentState


def of_layer(cache: AnyCache, layer: jax.Array | None) -> AnyCache:
    """The same stacked caches, of which ``layer`` is meant."""
    return dataclasses.replace(cache, layer=layer)


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
    key, value = (jnp.zeros((batch, slots, key_heads * size), dtype) for size in sizes)
    return Cache(key, value, jnp.full((slots,), -1, jnp.int32), key_heads)


def empty_hashed_cache(slots: int, batch: int, heads: int, sizes: tuple[int, int], rounds: int, dtype) -> HashedCache:
    """A cache without a token; ``sizes`` are those of heads of queries and of values."""
    query_key, value = (jnp.zeros((batch, slots, heads * size), dtype) for size in sizes)
    return HashedCache(query_key, value, jnp.zeros((batch, slots, heads * rounds), jnp.int32), heads)


def _put(whole: jax.Array, layer: jax.Array | None, new: jax.Array, slot: jax.Array, axis: int) -> jax.Array:
    """``whole`` with ``new`` at ``slot`` along ``axis`` of the layer."""
    new = new.astype(whole.dtype)
    if layer is None:
        return jax.lax.dynamic_update_slice_in_dim(whole, new, slot, axis)
    starts = [layer, *(slot if a == axis else jnp.zeros_like(slot) for a in range(new.ndim))]
    return jax.lax.dynamic_update_slice(whole, new[None], starts)


def _cut(whole: jax.Array, layer: jax.Array | None, first: jax.Array, size: int, axis: int) -> jax.Array:
    """``size`` slots from ``first`` on along ``axis`` of the layer; nothing else of it is read."""
    if layer is None:
        return jax.lax.dynamic_slice_in_dim(whole, first, size, axis)
    starts = [layer, *(first if a == axis else jnp.zeros_like(first) for a in range(whole.ndim - 1))]
    sizes = [1, *(size if a == axis else n for a, n in enumerate(whole.shape[1:]))]
    return jax.lax.dynamic_slice(whole, starts, sizes)[0]


def _of_layer(whole: jax.Array, layer: jax.Array | None) -> jax.Array:
    return whole if layer is None else jax.lax.dynamic_index_in_dim(whole, layer, 0, keepdims=False)
