"""Patterns of chosen positions: global tokens and random blocks.

References:
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, section 3.1: global attention.
  Zaheer et al., "Big Bird: Transformers for Longer Sequences", 2020, section 2: random attention.
"""

import abc
import dataclasses
import functools
from collections.abc import Iterable

import numpy as np

from efficient_attn.patterns.algebra import Pattern, whole_number
from efficient_attn.patterns.box import Box, Flags, Positions

# Rows of random blocks looked up for one box. Boxes that touch more are coarse tiles, where an inexact answer costs nothing.
_MOST_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Global(Pattern):
    """Chosen positions see everything and are seen by everything: whole rows and whole columns.

    Args:
      positions: rows and columns alike; a negative one counts from the end and needs ``length``.
      queries: rows only: queries that see every key.
      keys: columns only: keys seen by every query.
      length: tokens in the sequence, where a position is negative.
    """

    queries: tuple[int, ...]
    keys: tuple[int, ...]

    def __init__(
        self,
        positions: Iterable[int] = (),
        *,
        queries: Iterable[int] = (),
        keys: Iterable[int] = (),
        length: int | None = None,
    ):
        both = tuple(positions)
        object.__setattr__(self, "queries", _resolve((*both, *queries), length))
        object.__setattr__(self, "keys", _resolve((*both, *keys), length))
        if not self.queries and not self.keys:
            raise ValueError("Global needs at least one position, got none")

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (_is_member(i, self.queries) & (j == j)) | (_is_member(j, self.keys) & (i == i))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        rows, columns = _counts(box.q_lo, box.q_hi, self.queries), _counts(box.k_lo, box.k_hi, self.keys)
        must = (rows == box.q_hi - box.q_lo + 1) | (columns == box.k_hi - box.k_lo + 1)
        if box.cut():
            # Counted again where the strip leaves fewer, which takes a search for every box, not for every row and column.
            rows, columns = _counts(*box.queries(), self.queries), _counts(*box.keys(), self.keys)
        occupied = box.occupied()
        return occupied & (rows + columns > 0), occupied & must

    def __repr__(self) -> str:
        if self.queries == self.keys:
            return f"Global({list(self.keys)})"
        return f"Global(queries={list(self.queries)}, keys={list(self.keys)})"


def _resolve(positions: tuple, length: int | None) -> tuple[int, ...]:
    """Sorted distinct positions, negative ones counted from ``length``."""
    resolved = set()
    for position in positions:
        value = whole_number(position, "a Global position", least=-(2**31))
        if value < 0 and length is None:
            raise ValueError(
                f"a negative Global position counts from the end, so it needs length=, got {value} without it"
            )
        if length is not None and not -length <= value < length:
            raise ValueError(f"Global positions must lie in a sequence of length {length}, got {value}")
        resolved.add(value + length if value < 0 else value)
    return tuple(sorted(resolved))


def _runs(members: tuple[int, ...]) -> list[tuple[int, int]]:
    """Sorted members as inclusive ranges, so that neighbours cost one comparison together."""
    runs: list[tuple[int, int]] = []
    for member in members:
        if runs and runs[-1][1] == member - 1:
            runs[-1] = (runs[-1][0], member)
        else:
            runs.append((member, member))
    return runs


def _is_member(x: Positions, members: tuple[int, ...]) -> Flags:
    hits = [(x >= lo) & (x <= hi) for lo, hi in _runs(members)]
    return functools.reduce(lambda a, b: a | b, hits, x != x)


def _counts(lo: Positions, hi: Positions, members: tuple[int, ...]) -> Positions:
    """How many members lie in ``lo..hi``; an empty range holds none."""
    if isinstance(lo, np.ndarray | np.generic | int) and isinstance(hi, np.ndarray | np.generic | int):
        table = np.asarray(members, np.int64)
        inside = np.searchsorted(table, hi, "right") - np.searchsorted(table, lo, "left")
        return inside * (hi >= lo)
    import jax.numpy as jnp

    table = jnp.asarray(members, jnp.int32)
    return (jnp.searchsorted(table, hi, side="right") - jnp.searchsorted(table, lo, side="left")) * (hi >= lo)


class _Blocks(Pattern):
    """Each block of queries sees the whole blocks of keys that a table lists for it."""

    block: int
    length: int

    @property
    def blocks(self) -> int:
        """Blocks along the sequence."""
        return -(-self.length // self.block)

    @abc.abstractmethod
    def table(self) -> np.ndarray:
        """Int ``[blocks, most]``: distinct key blocks of each query block; -1 is none."""

    def allows(self, i: Positions, j: Positions) -> Flags:
        table = self.table()
        query_block, key_block = i // self.block, j // self.block
        row = query_block * (query_block < self.blocks)
        hits = [_lookup(table[:, c], row) == key_block for c in range(table.shape[1])]
        return functools.reduce(lambda a, b: a | b, hits) & (i < self.length) & (j < self.length)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        """Exact up to 64 rows of blocks, each of which is looked up; "some, perhaps" for taller or traced boxes."""
        rows = self._rows_touched(box)
        if rows is None:
            return super().bounds(box)
        inside = (box.q_hi < self.length) & (box.k_hi < self.length)
        box = box.within(q=(box.q_lo, self.length - 1), k=(box.k_lo, self.length - 1))
        first_key, last_key = box.k_lo // self.block, box.k_hi // self.block
        width = last_key - first_key + 1
        may, must = box.occupied() & False, box.occupied() & inside & (width <= self.table().shape[1])
        cut, fillable = box.cut(), bool(np.any(must))
        for r in range(rows):
            row = box.q_lo // self.block + r
            present = row <= box.q_hi // self.block
            keys = [self.table()[:, c][row * present] for c in range(self.table().shape[1])]
            hits = [(key >= first_key) & (key <= last_key) for key in keys]
            if fillable:
                must = must & (~present | (sum(hits) == width))
            may = may | (present & (self._in_strip(box, row, keys) if cut else functools.reduce(np.logical_or, hits)))
        return may & box.occupied(), must

    def _rows_touched(self, box: Box) -> int | None:
        """The most rows of blocks that any of the boxes touches; None where there are too many to look up."""
        if not isinstance(box.q_lo, np.ndarray | np.generic | int):
            return None
        rows = int(np.max(np.minimum(box.q_hi, self.length - 1) // self.block - box.q_lo // self.block)) + 1
        return max(rows, 1) if rows <= _MOST_ROWS else None

    def _in_strip(self, box: Box, row: Positions, keys: list[Positions]) -> Flags:
        """Whether one of the row's key blocks has a pair in the box, its strip of offsets included."""
        inside = box.within(q=(row * self.block, row * self.block + self.block - 1))
        spans = [(key * self.block, key * self.block + self.block - 1) for key in keys]
        return functools.reduce(lambda a, b: a | b, [inside.within(k=span).occupied() for span in spans])


@dataclasses.dataclass(frozen=True)
class BlockRandom(_Blocks):
    """Each block of queries sees ``count`` whole blocks of keys, drawn at random once and for all.

    Args:
      block: positions in a block, of queries and of keys.
      count: distinct key blocks that each query block sees.
      seed: the draw; equal seeds give equal patterns on every machine.
      length: tokens the pattern is drawn for; later positions see and are seen by nothing.
    """

    block: int
    count: int
    seed: int
    length: int

    def __post_init__(self):
        for name, least in (("block", 1), ("count", 1), ("seed", 0), ("length", 1)):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"BlockRandom.{name}", least=least))
        if self.count > self.blocks:
            raise ValueError(
                f"BlockRandom.count must not exceed the number of blocks, got count={self.count} of "
                f"{self.blocks} blocks (length={self.length}, block={self.block})"
            )

    def table(self) -> np.ndarray:
        """The key blocks of each query block, ascending: int32 ``[blocks, count]``."""
        return _random_table(self.blocks, self.count, self.seed)


@dataclasses.dataclass(frozen=True)
class GivenBlocks(_Blocks):
    """Each block of queries sees the whole blocks of keys that are listed for it.

    Args:
      block: positions in a block, of queries and of keys.
      lists: key blocks of each query block; as many lists as there are blocks, and a list may be empty.
      length: tokens in the sequence; later positions see and are seen by nothing.
    """

    block: int
    lists: tuple[tuple[int, ...], ...]
    length: int

    def __post_init__(self):
        for name in ("block", "length"):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"GivenBlocks.{name}", least=1))
        lists = tuple(tuple(sorted({int(key) for key in keys})) for keys in self.lists)
        object.__setattr__(self, "lists", lists)
        if len(lists) != self.blocks or any(keys and not 0 <= keys[0] <= keys[-1] < self.blocks for keys in lists):
            raise ValueError(
                f"GivenBlocks needs {self.blocks} lists of blocks from 0 to {self.blocks - 1} (length={self.length}, "
                f"block={self.block}), got {len(lists)} lists: {lists}"
            )

    def table(self) -> np.ndarray:
        """The key blocks of each query block, ascending, and -1 in places left over: int32 ``[blocks, longest list]``."""
        return _table_of(self.lists)


@functools.lru_cache(maxsize=64)
def _table_of(lists: tuple[tuple[int, ...], ...]) -> np.ndarray:
    table = np.full((len(lists), max(1, max(map(len, lists)))), -1, np.int32)
    for row, keys in zip(table, lists, strict=True):
        row[: len(keys)] = keys
    return table


def _lookup(column: np.ndarray, rows: Positions) -> Positions:
    if isinstance(rows, np.ndarray | np.generic | int):
        return column[rows]
    import jax.numpy as jnp

    return jnp.asarray(column)[rows]


@functools.lru_cache(maxsize=64)
def _random_table(blocks: int, count: int, seed: int) -> np.ndarray:
    """``count`` distinct blocks per row, ascending. Philox is the same on every platform and numpy version."""
    draw = np.random.Generator(np.random.Philox(seed))
    if 4 * count >= blocks:
        return np.sort(draw.random((blocks, blocks)).argsort(axis=1)[:, :count], axis=1).astype(np.int32)
    table = np.sort(draw.integers(0, blocks, (blocks, count)), axis=1)
    while True:
        repeated = (table[:, 1:] == table[:, :-1]).any(axis=1)
        if not repeated.any():
            return table.astype(np.int32)
        table[repeated] = np.sort(draw.integers(0, blocks, (int(repeated.sum()), count)), axis=1)
