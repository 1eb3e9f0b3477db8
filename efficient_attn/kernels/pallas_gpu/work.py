"""What the GPU kernels visit: for each line of blocks a stretch of a list of runs, whose full blocks come first."""

import dataclasses
import functools

import numpy as np

from efficient_attn.kernels.bitmap import bitmaps, computable
from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.block_mask import Plan, build_block_mask


@dataclasses.dataclass(frozen=True)
class Work:
    """The live blocks of a pattern; a line is a row of queries, or a column of keys. All arrays are int32."""

    lines: np.ndarray
    """``[lines]``: lines by falling number of blocks, so that the longest does not start last."""
    bounds: np.ndarray
    """``[lines, 3]``: where in the list the runs of full blocks of a line begin, those of partial blocks, and its end."""
    runs: np.ndarray
    """``[runs, 3]``: first block along the line, number of blocks, and the place of the first in ``tiles``."""
    tiles: np.ndarray
    """``[partial blocks]``: the bitmap of each; ``[1]`` without bitmaps."""
    bits: np.ndarray | None
    """``[bitmaps, block / 32, block]``, packed by ``bitmap.pack``; None where the kernel computes the predicate."""

    @property
    def live(self) -> int:
        """Live blocks."""
        return int(self.runs[:, 1].sum())

    def arrays(self) -> dict[str, np.ndarray]:
        """By name, those that there are."""
        found = {"lines": self.lines, "bounds": self.bounds, "runs": self.runs}
        return found if self.bits is None else found | {"tiles": self.tiles, "bits": self.bits}


@functools.lru_cache(maxsize=256)
def work_of(pattern: Pattern, q_len: int, k_len: int, block: int, by_key: bool) -> Work:
    """The work of one pattern, which is the same for all heads."""
    (plan,) = build_block_mask(pattern, q_len, k_len, block).plans
    count = len((plan.by_key if by_key else plan.by_query).pointers) - 1
    line, start, length, full = _runs(plan, by_key)
    begin = np.searchsorted(line, np.arange(count + 1))
    middle = begin[:-1] + np.bincount(line[full], minlength=count)
    bounds = np.stack([begin[:-1], middle, begin[1:]], axis=1).astype(np.int32)
    blocks = np.bincount(line, weights=length, minlength=count)
    longest_first = np.argsort(-blocks, kind="stable").astype(np.int32)
    partial = np.where(full, 0, length)
    first = np.cumsum(partial) - partial
    # A list without a run still has an address.
    runs = np.stack([start, length, first], axis=1).astype(np.int32) if line.size else np.zeros((1, 3), np.int32)
    if computable(pattern):
        return Work(longest_first, bounds, runs, np.zeros(1, np.int32), None)
    of_line = np.repeat(line, partial)
    along = np.repeat(start, partial) + np.arange(partial.sum()) - np.repeat(first, partial)
    rows, columns = (along, of_line) if by_key else (of_line, along)
    bits, tiles = bitmaps(pattern, rows, columns, block, by_key)
    return Work(longest_first, bounds, runs, tiles if tiles.size else np.zeros(1, np.int32), bits)


def _runs(plan: Plan, by_key: bool) -> tuple[np.ndarray, ...]:
    """Line, first block, length and fullness of each run, in the order of the list."""
    runs = plan.by_key if by_key else plan.by_query
    line = np.repeat(np.arange(len(runs.pointers) - 1), np.diff(runs.pointers))
    start, length, full = runs.starts, runs.counts, runs.full
    if plan.k_len % plan.block:
        # The last block of keys holds slots that are no keys: the predicate hides them.
        last = (plan.k_len - 1) // plan.block
        if by_key:
            full = full & (line != last)
        else:
            cut = full & (start + length == last + 1)
            line, start = np.append(line, line[cut]), np.append(start, np.full(cut.sum(), last))
            length, full = np.append(length - cut, np.ones(cut.sum(), int)), np.append(full, np.zeros(cut.sum(), bool))
            line, start, length, full = (x[length > 0] for x in (line, start, length, full))
    order = np.lexsort((start, ~full, line))
    return line[order], start[order], length[order], full[order]
