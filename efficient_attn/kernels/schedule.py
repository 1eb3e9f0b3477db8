"""What the XLA implementation visits: for each block of queries, slabs of neighbouring keys that cover its live blocks.

A slab is wider than a block, because one wide matrix product runs far nearer to the machine's rate than several narrow ones;
how wide is chosen per pattern, by counting what each width would compute.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.kernels.problem import Problem, Settings
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import Runs, build_block_mask
from efficient_attn.patterns.box import Box

# Widths tried, in blocks of keys, beside the widest extent of a row where that is no more than twice the last of them: a
# window of 1,023 keys and its own block is a little over it.
_WIDTHS = (1, 2, 4, 8)
# Cost of visiting one slab (loop turn, small products), in keys: about 30 us on a CPU, where 128 keys take about 50.
_VISIT_COST = 96
# Scores of one head up to which rows over the same keys are made one: as many as a block has over a window of five.
_TURN_SCORES = 128 * 640


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["begin", "end", "start", "low"],
    meta_fields=["height", "width", "single"],
)
@dataclasses.dataclass(frozen=True)
class Schedule:
    """Slabs for each row of query blocks: row ``r`` visits slabs ``begin[r]:end[r]``."""

    begin: Any
    """int32 ``[rows]``"""
    end: Any
    """int32 ``[rows]``"""
    start: Any
    """int32 ``[slabs]``: first key slot that is loaded; a slab never reaches past the last key."""
    low: Any
    """int32 ``[slabs]``: first key slot that counts; what lies before it belongs to the slab before."""
    height: int
    """Queries in a row."""
    width: int
    """Keys in a slab."""
    single: bool
    """Whether every row visits exactly one slab, so that no running softmax is needed and no slab can repeat a key."""


def block_sizes(q_len: int, k_len: int) -> tuple[int, int]:
    """Queries and keys to a block: 128, or the next multiple of 8 of a shorter sequence."""
    return min(128, -(-q_len // 8) * 8), min(128, -(-k_len // 8) * 8)


@functools.lru_cache(maxsize=256)
def static_schedule(pattern: Pattern, q_len: int, k_len: int) -> Schedule:
    """The schedule of a pattern over slots ``0..q_len`` and ``0..k_len``: made on the host, once."""
    height, width = block_sizes(q_len, k_len)
    block = max(height, width)
    schedule = schedule_of_runs(build_block_mask(pattern, q_len, k_len, block).plans[0].by_query, k_len, block)
    if q_len <= block:
        # Fewer queries than a block are one row, which need not be filled up to a block.
        return dataclasses.replace(schedule, height=height)
    return _taller(schedule)


def _taller(schedule: Schedule) -> Schedule:
    """Rows that all see the same few keys as fewer rows, for a turn of the loop costs as much as many scores."""
    rows = len(schedule.begin)
    if not schedule.single or (schedule.start != schedule.start[0]).any() or (schedule.low != schedule.low[0]).any():
        return schedule
    together = max(1, _TURN_SCORES // (schedule.height * schedule.width))
    turns = -(-rows // together)
    kept = {name: getattr(schedule, name)[:turns] for name in ("begin", "end", "start", "low")}
    return dataclasses.replace(schedule, height=schedule.height * -(-rows // turns), **kept)


def schedule_of_runs(runs: Runs, k_len: int, block: int) -> Schedule:
    """The cheapest cover of the live runs of each row by slabs of one width."""
    first, end = runs.extents()
    extent = max(1, int((end - first).max(initial=0)))
    widths = {*_WIDTHS, extent} if extent <= 2 * max(_WIDTHS) else set(_WIDTHS)
    covers = {w: _cover(runs, w) for w in widths}
    best = min(covers, key=lambda w: (covers[w][0].size * (w * block + _VISIT_COST), w))
    starts, rows = covers[best]
    width = min(best * block, k_len)
    counts = np.bincount(rows, minlength=len(runs.pointers) - 1)
    end = np.cumsum(counts)
    low = starts * block
    if not low.size:
        # No row points into the list, but a loop over nothing is still traced with a look into it.
        low = np.zeros(1, np.int64)
    as_int32 = functools.partial(np.asarray, dtype=np.int32)
    start = np.minimum(low, k_len - width)
    return Schedule(*map(as_int32, (end - counts, end, start, low)), block, width, bool((counts == 1).all()))


def _cover(runs: Runs, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Greedy cover of every row's live blocks by slabs of ``width`` blocks: first blocks and rows, in order of rows.

    All rows advance together: each step gives every unfinished row the slab that begins at its first uncovered block.
    """
    pointers = runs.pointers
    ends = runs.starts + runs.counts
    run = pointers[:-1].copy()
    position = np.zeros_like(run)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    rows = np.flatnonzero(run < pointers[1:])
    position[rows] = runs.starts[run[rows]]
    while rows.size:
        found.append((position[rows].copy(), rows))
        reach = position[rows] + width
        current = run[rows]
        while True:
            behind = (current < pointers[rows + 1]) & (ends[np.minimum(current, len(ends) - 1)] <= reach)
            if not behind.any():
                break
            current = current + behind
        run[rows] = current
        going = current < pointers[rows + 1]
        rows, reach = rows[going], reach[going]
        position[rows] = np.maximum(reach, runs.starts[run[rows]])
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    starts, rows = (np.concatenate(x) for x in zip(*found, strict=True))
    order = np.argsort(rows, kind="stable")
    return starts[order].astype(np.int64), rows[order]


def dynamic_schedule(settings: Settings, problem: Problem) -> Schedule:
    """The schedule of positions known only on the device: fixed capacity, the visited part of it counted at run time.

    A block is live if, by the ranges of positions and segments in it, some pair of some batch row and head may attend.
    """
    q_len, k_len = problem.query.shape[1], problem.key.shape[1]
    height, width = block_sizes(q_len, k_len)
    width = min(width, k_len)
    live = _live(settings, problem, height, width)
    rows, columns = live.shape
    order = jnp.argsort(~live, axis=1, stable=True)
    begin = jnp.arange(rows, dtype=jnp.int32) * columns
    low = (order * width).astype(jnp.int32).reshape(-1)
    start = jnp.minimum(low, k_len - width)
    return Schedule(begin, begin + live.sum(1, dtype=jnp.int32), start, low, height, width, False)


def _live(settings: Settings, problem: Problem, height: int, width: int) -> jax.Array:
    """Bool ``[rows, columns]`` of blocks."""
    q_len, k_len = problem.query.shape[1], problem.key.shape[1]
    q_pos, k_pos = problem.query_positions, problem.key_positions
    q_pos = jnp.arange(q_len, dtype=jnp.int32)[None, None, None] if q_pos is None else q_pos
    k_pos = jnp.arange(k_len, dtype=jnp.int32)[None, None, None] if k_pos is None else k_pos
    q_lo, q_hi = _ranges(q_pos, height)
    k_lo, k_hi = _ranges(k_pos, width)
    box = Box.of(q_lo[..., :, None], q_hi[..., :, None], k_lo[..., None, :], k_hi[..., None, :])
    may = settings.pattern.bounds(box)[0]
    live = jnp.broadcast_to(may, jnp.broadcast_shapes(may.shape, (1, 1, 1, q_lo.shape[-1], k_lo.shape[-1])))
    if problem.query_segments is not None:
        qs_lo, qs_hi = _ranges(problem.query_segments, height)
        ks_lo, ks_hi = _ranges(problem.key_segments, width)
        overlap = (qs_lo[:, :, None] <= ks_hi[:, None, :]) & (ks_lo[:, None, :] <= qs_hi[:, :, None])
        live = live & overlap[:, None, None]
    return live.any((0, 1, 2))


def _ranges(x: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    """Least and greatest value in each block along the last axis."""
    short = -x.shape[-1] % block
    padded = jnp.concatenate([x, jnp.broadcast_to(x[..., -1:], (*x.shape[:-1], short))], axis=-1)
    blocks = padded.reshape(*x.shape[:-1], -1, block)
    return blocks.min(-1), blocks.max(-1)
