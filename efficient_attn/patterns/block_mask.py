"""From a pattern to the blocks that are worth visiting: run lengths of live blocks, by query block and by key block.

Blocks are classified by interval arithmetic (``Pattern.bounds``), coarse tiles first, so that large empty or full areas cost
one test. A live block is full (every pair allowed; no mask is needed in it) or partial (the predicate decides).
Neighbouring live blocks of one kind form a run: causal attention over a million tokens is two runs a row.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.patterns.box import Box

EMPTY, PARTIAL, FULL = 0, 1, 2

# Blocks along the side of a coarse tile. 32 keeps both the coarse grid and one band of fine blocks in cache at a million tokens.
_TILE = 32
# Partial blocks, and pairs in them, evaluated for `useful_fraction`: under a second of work. Beyond these, an even sample.
_COUNTED_BLOCKS = 4096
_COUNTED_PAIRS = 2**25

# numpy as built; traced, or whatever a tree transformation puts there, inside a program.
ListArray = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs of live blocks along each line (row or column) of blocks, compressed: line ``r`` owns ``pointers[r]:pointers[r+1]``."""

    pointers: ListArray
    """int32 ``[lines + 1]``."""
    starts: ListArray
    """int32 ``[runs]``: first block of the run."""
    counts: ListArray
    """int32 ``[runs]``: blocks in the run."""
    full: ListArray
    """bool ``[runs]``: whether the run's blocks are full."""

    @property
    def nbytes(self) -> int:
        """Bytes of the four lists."""
        return self.pointers.nbytes + self.starts.nbytes + self.counts.nbytes + self.full.nbytes

    def extents(self) -> tuple[np.ndarray, np.ndarray]:
        """The first live block of each line and one past the last; both 0 for a line that has none."""
        lines = np.flatnonzero(np.diff(self.pointers))
        first, end = np.zeros((2, len(self.pointers) - 1), np.int64)
        last = self.pointers[lines + 1] - 1
        first[lines], end[lines] = self.starts[self.pointers[lines]], self.starts[last] + self.counts[last]
        return first, end


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["by_query", "by_key"],
    meta_fields=["pattern", "q_len", "k_len", "block"],
)
@dataclasses.dataclass(frozen=True)
class Plan:
    """The live blocks of one pattern: lists as leaves, the predicate and the sizes static."""

    by_query: Runs
    by_key: Runs
    pattern: Pattern
    q_len: int
    k_len: int
    block: int


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["plans"], meta_fields=["heads", "q_len", "k_len", "block"]
)
@dataclasses.dataclass(frozen=True)
class BlockMask:
    """The live blocks of a pattern over given lengths: one plan for each distinct pattern among the heads.

    A pytree whose leaves are the run lists, so that masks can be passed through ``jit`` and, where their lists have equal
    shapes, stacked and scanned over.
    """

    plans: tuple[Plan, ...]
    heads: tuple[int, ...] | None
    """Plan index of each query head; ``None`` where all heads share one plan."""
    q_len: int
    k_len: int
    block: int

    @property
    def pattern(self) -> Pattern:
        """The pattern this mask was made from."""
        if self.heads is None:
            return self.plans[0].pattern
        return PerHead([self.plans[p].pattern for p in self.heads])

    @property
    def active_blocks(self) -> int:
        """Live blocks, summed over heads (over one head where all share a pattern)."""
        return sum(int(plan.by_query.counts.sum()) for plan in self._plan_of_each_head())

    @property
    def full_blocks(self) -> int:
        """Live blocks in which every pair is allowed, summed likewise."""
        return sum(int(plan.by_query.counts[plan.by_query.full].sum()) for plan in self._plan_of_each_head())

    @property
    def partial_blocks(self) -> int:
        """Live blocks that need the predicate, summed likewise."""
        return self.active_blocks - self.full_blocks

    @property
    def total_blocks(self) -> int:
        """All blocks, live or not, summed likewise."""
        return -(-self.q_len // self.block) * -(-self.k_len // self.block) * len(self._plan_of_each_head())

    @property
    def lines(self) -> int:
        """Rows of blocks, summed likewise."""
        return -(-self.q_len // self.block) * len(self._plan_of_each_head())

    @property
    def live_fraction(self) -> float:
        """Live blocks among all blocks."""
        return self.active_blocks / self.total_blocks

    @functools.cached_property
    def useful_fraction(self) -> float:
        """Allowed pairs among the pairs of live blocks; of many partial blocks, an even sample is counted."""
        pairs = [useful_pairs(plan) for plan in self.plans]
        useful, area = np.sum([pairs[p] for p in self.heads or (0,)], axis=0)
        return float(useful / area) if area else 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of all run lists."""
        return sum(plan.by_query.nbytes + plan.by_key.nbytes for plan in self.plans)

    def summary(self) -> str:
        """Two lines for people: sizes, live blocks by kind, share of live blocks and of useful work, bytes."""
        heads = "" if self.heads is None else f", {len(self.heads)} heads, {len(self.plans)} distinct patterns"
        return (
            f"{self.q_len} queries x {self.k_len} keys, blocks of {self.block}{heads}\n"
            f"{self.active_blocks} of {self.total_blocks} blocks live ({self.live_fraction:.2%}): {self.full_blocks} full, "
            f"{self.partial_blocks} partial; {self.useful_fraction:.1%} of the work in them useful; {self.nbytes:,} bytes"
        )

    def _plan_of_each_head(self) -> list[Plan]:
        return [self.plans[0]] if self.heads is None else [self.plans[p] for p in self.heads]


@functools.lru_cache(maxsize=256)
def build_block_mask(pattern: Pattern, q_len: int, k_len: int, block: int) -> BlockMask:
    """Builds the ``BlockMask`` of ``pattern``; equal arguments share one, whoever asks."""
    if not isinstance(pattern, PerHead):
        return BlockMask((_plan(pattern, q_len, k_len, block),), None, q_len, k_len, block)
    distinct = list(dict.fromkeys(pattern.patterns))
    heads = tuple(distinct.index(p) for p in pattern.patterns)
    plans = tuple(build_block_mask(p, q_len, k_len, block).plans[0] for p in distinct)
    return BlockMask(plans, heads, q_len, k_len, block)


# Instruction bundles of a block of each size, forward and both backward passes of the TPU kernels together, with the turn of the
# loop around it, and of the beginning and end of its line: read from what the compiler makes of them for v5e, head size 128,
# bfloat16, and held against what it makes of five patterns by a test. A step of 128 is mostly turn.
_BUNDLES = {128: (999, 405), 256: (1833, 909), 512: (5029, 1472)}
KERNEL_BLOCKS = tuple(_BUNDLES)


def block_costs(pattern: Pattern, q_len: int, k_len: int) -> dict[int, int]:
    """What each block size of the TPU kernels costs, in instruction bundles, by counting its live blocks and its lines."""
    masks = {block: build_block_mask(pattern, q_len, k_len, block) for block in _BUNDLES}
    return {
        block: mask.active_blocks * _BUNDLES[block][0] + mask.lines * _BUNDLES[block][1]
        for block, mask in masks.items()
    }


@functools.lru_cache(maxsize=256)
def best_block(pattern: Pattern, q_len: int, k_len: int) -> int:
    """The block size that costs a TPU's kernel least; the smallest of those that cost the same."""
    costs = block_costs(pattern, q_len, k_len)
    return min(costs, key=lambda block: (costs[block], block))


def _plan(pattern: Pattern, q_len: int, k_len: int, block: int) -> Plan:
    by_query = _runs(_bands(pattern, q_len, k_len, block, by_key=False))
    by_key = _runs(_bands(pattern, q_len, k_len, block, by_key=True))
    return Plan(by_query, by_key, pattern, q_len, k_len, block)


def block_kinds(pattern: Pattern, q_len: int, k_len: int, block: int) -> np.ndarray:
    """The kind of every block, uint8 ``[q_blocks, k_blocks]``: for pictures and tests; costs a byte a block."""
    return np.concatenate(list(_bands(pattern, q_len, k_len, block, by_key=False)))


def _bands(pattern: Pattern, q_len: int, k_len: int, block: int, *, by_key: bool) -> Iterator[np.ndarray]:
    """Block kinds, uint8 ``[lines, positions along a line]``, a band of up to 32 lines at a time."""
    lines_len, along_len = (k_len, q_len) if by_key else (q_len, k_len)
    kinds_at = functools.partial(_kinds_at, pattern, by_key=by_key)
    lines, along = -(-lines_len // block), -(-along_len // block)
    tile = block * _TILE
    coarse_along = np.arange(-(-along_len // tile), dtype=np.int32)
    for first in range(0, lines, _TILE):
        coarse = kinds_at(np.int32(first // _TILE), coarse_along, tile, lines_len, along_len)
        band = np.repeat(coarse[None, :], _TILE, axis=1)[:, :along].repeat(min(_TILE, lines - first), axis=0)
        undecided = np.flatnonzero(band[0] == PARTIAL).astype(np.int32)
        if undecided.size:
            line = np.arange(first, first + len(band), dtype=np.int32)
            band[:, undecided] = kinds_at(line[:, None], undecided[None, :], block, lines_len, along_len)
        yield band


def _kinds_at(pattern: Pattern, line, along, side: int, lines_len: int, along_len: int, *, by_key: bool) -> np.ndarray:
    """The kind of the square blocks of ``side`` at the given indices."""
    line_lo, along_lo = line * np.int32(side), along * np.int32(side)
    line_hi = np.minimum(line_lo + np.int32(side - 1), np.int32(lines_len - 1))
    along_hi = np.minimum(along_lo + np.int32(side - 1), np.int32(along_len - 1))
    box = Box.of(along_lo, along_hi, line_lo, line_hi) if by_key else Box.of(line_lo, line_hi, along_lo, along_hi)
    may, must = pattern.bounds(box)
    shape = np.broadcast_shapes(np.shape(line), np.shape(along))
    return np.broadcast_to(np.asarray(may, np.uint8) + np.asarray(may & must, np.uint8), shape)


def _runs(bands: Iterator[np.ndarray]) -> Runs:
    """Compresses bands of block kinds into runs."""
    pointers, starts, counts, full = [np.zeros(1, np.int32)], [], [], []
    for band in bands:
        padded = np.zeros((band.shape[0], band.shape[1] + 1), np.uint8)
        padded[:, 1:] = band
        changes = padded[:, 1:] != padded[:, :-1]
        line, start = np.nonzero(changes)
        kind = band[line, start]
        # A run ends where the next change on its line is, or at the end of the line.
        end = np.append(start[1:], band.shape[1])
        end[np.append(line[1:] != line[:-1], True)] = band.shape[1]
        live = kind != EMPTY
        starts.append(start[live].astype(np.int32))
        counts.append((end - start)[live].astype(np.int32))
        full.append(kind[live] == FULL)
        pointers.append(np.bincount(line[live], minlength=band.shape[0]).astype(np.int32))
    return Runs(
        np.cumsum(np.concatenate(pointers), dtype=np.int32), *(np.concatenate(x) for x in (starts, counts, full))
    )


def expand(runs: Runs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The live blocks one by one, int32 ``[live]`` each and bool ``[live]``: line, position along it, full."""
    line_of_run = np.repeat(np.arange(len(runs.pointers) - 1, dtype=np.int32), np.diff(runs.pointers))
    first = np.cumsum(runs.counts) - runs.counts
    within = np.arange(int(runs.counts.sum()), dtype=np.int32) - np.repeat(first, runs.counts).astype(np.int32)
    return (
        np.repeat(line_of_run, runs.counts),
        np.repeat(runs.starts, runs.counts) + within,
        np.repeat(runs.full, runs.counts),
    )


def useful_pairs(plan: Plan) -> tuple[float, int]:
    """Allowed pairs of a plan, and pairs in its live blocks (tail blocks counted at their true size)."""
    rows, columns, full = expand(plan.by_query)
    height = np.minimum((rows + 1) * plan.block, plan.q_len) - rows * plan.block
    width = np.minimum((columns + 1) * plan.block, plan.k_len) - columns * plan.block
    area = height.astype(np.int64) * width
    partial = np.flatnonzero(~full)
    most = min(_COUNTED_BLOCKS, max(1, _COUNTED_PAIRS // plan.block**2))
    sample = partial[:: max(1, -(-partial.size // most))]
    counted = sum(_allowed_in_block(plan, int(rows[b]), int(columns[b])) for b in sample)
    scale = area[partial].sum() / area[sample].sum() if sample.size else 0.0
    return float(area[full].sum() + counted * scale), int(area.sum())


def _allowed_in_block(plan: Plan, row: int, column: int) -> int:
    i = np.arange(row * plan.block, min((row + 1) * plan.block, plan.q_len))[:, None]
    j = np.arange(column * plan.block, min((column + 1) * plan.block, plan.k_len))[None, :]
    return int(np.count_nonzero(np.broadcast_to(plan.pattern.allows(i, j), (i.size, j.size))))
