"""What the TPU kernels visit: live blocks one by one, in the order of the grid, one 32-bit word each.

The grid of a kernel runs over these words alone, so no step is spent on a block that nobody may attend to. The words lie in
scalar memory, from which the addresses of the next blocks are computed while the current ones are worked on. A list that is
too long for it is cut into groups of whole lines, one launch each, so there is no longest sequence.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from efficient_attn.kernels.bitmap import bitmaps, computable
from efficient_attn.patterns.algebra import Pattern, PerHead
from efficient_attn.patterns.block_mask import Plan, Runs, build_block_mask, expand

NOTHING, PARTIAL, FULL = 0, 1, 2

# Words of one launch: 240 KiB of the 1 MiB of scalar memory that v4 to v6e have, which the compiler also uses.
_MOST_WORDS = 60 * 1024
# 14 bits of a word for each of line and place, 2 for the kind, 2 for the ends of a line.
_MOST_BLOCKS = 1 << 14


def encode(line: Any, along: Any, kind: Any, first: Any, last: Any) -> Any:
    """Words of blocks, of int32 arrays."""
    return (line << 18) | (along << 4) | (kind << 2) | (first << 1) | last


@dataclasses.dataclass(frozen=True)
class Word:
    """One decoded block, of numpy arrays or traced scalars: the row (or column) of its results, and where."""

    word: Any

    @property
    def line(self) -> Any:
        """Block index of the line."""
        return (self.word >> 18) & (_MOST_BLOCKS - 1)

    @property
    def along(self) -> Any:
        """Block index along the line."""
        return (self.word >> 4) & (_MOST_BLOCKS - 1)

    @property
    def kind(self) -> Any:
        """``NOTHING`` (a line without a live block, or the filling of a group), ``PARTIAL`` or ``FULL``."""
        return (self.word >> 2) & 3

    @property
    def first(self) -> Any:
        """Whether the line begins here."""
        return ((self.word >> 1) & 1) == 1

    @property
    def last(self) -> Any:
        """Whether the line ends here."""
        return (self.word & 1) == 1


@dataclasses.dataclass(frozen=True)
class Launch:
    """The work of the heads that share a pattern."""

    pattern: Pattern
    heads: tuple[int, ...]
    """The query heads, ascending."""
    words: np.ndarray
    """int32 ``[groups, words]``: one launch for each group."""
    tiles: np.ndarray
    """int32 ``[groups, words]``: which bitmap each partial block has; ``[groups, 1]`` without bitmaps."""
    bits: np.ndarray | None
    """int32 ``[bitmaps, block / 32, block]``, packed by ``bitmap.pack``; None where the kernel computes the predicate."""

    @property
    def useful_steps(self) -> float:
        """Share of the grid's steps that compute a live block."""
        return float(np.mean(Word(self.words).kind != NOTHING))


@functools.lru_cache(maxsize=256)
def launches(pattern: Pattern, heads: int, q_len: int, k_len: int, block: int, by_key: bool) -> tuple[Launch, ...]:
    """One launch for each distinct pattern; lines are rows of queries, or columns of keys."""
    _check_blocks(q_len, k_len, block)
    mask = build_block_mask(pattern, q_len, k_len, block)
    plan_of = mask.heads if isinstance(pattern, PerHead) else (0,) * heads
    heads_of = [tuple(h for h, p in enumerate(plan_of) if p == number) for number in range(len(mask.plans))]
    return tuple(_launch(plan, own, by_key) for plan, own in zip(mask.plans, heads_of, strict=True))


def _launch(plan: Plan, heads: tuple[int, ...], by_key: bool) -> Launch:
    words = _words(plan, by_key)
    if computable(plan.pattern):
        words, _ = _grouped(words, _MOST_WORDS)
        return Launch(plan.pattern, heads, words, np.zeros((len(words), 1), np.int32), None)
    word = Word(words)
    partial = word.kind == PARTIAL
    line, along = word.line[partial], word.along[partial]
    rows, columns = (along, line) if by_key else (line, along)
    tiles = np.zeros_like(words)
    bits, tiles[partial] = bitmaps(plan.pattern, rows, columns, plan.block, by_key)
    words, order = _grouped(words, _MOST_WORDS // 2)
    return Launch(plan.pattern, heads, words, tiles[order], bits)


def _check_blocks(q_len: int, k_len: int, block: int) -> None:
    blocks = -(-max(q_len, k_len) // block)
    if blocks > _MOST_BLOCKS:
        raise NotImplementedError(
            f"pallas_tpu numbers at most {_MOST_BLOCKS} blocks along a sequence, {max(q_len, k_len)} tokens are "
            f"{blocks} blocks of {block}"
        )


def _words(plan: Plan, by_key: bool) -> np.ndarray:
    runs: Runs = plan.by_key if by_key else plan.by_query
    lines = len(runs.pointers) - 1
    line, along, full = expand(runs)
    # A block at the ragged end of the keys holds slots that are no keys: the predicate hides them.
    ragged = plan.k_len % plan.block != 0
    column, last_column = (line if by_key else along), (plan.k_len - 1) // plan.block
    kind = np.where(full & ~(ragged & (column == last_column)), FULL, PARTIAL)
    # A line without a live block still has to be written.
    empty = np.setdiff1d(np.arange(lines), line)
    line, along, kind = (
        np.concatenate([x, y]).astype(np.int32)
        for x, y in ((line, empty), (along, np.zeros_like(empty)), (kind, np.full_like(empty, NOTHING)))
    )
    order = np.argsort(line, kind="stable")
    line, along, kind = line[order], along[order], kind[order]
    change = line[1:] != line[:-1]
    first, last = np.append(True, change).astype(np.int32), np.append(change, True).astype(np.int32)
    return encode(line, along, kind, first, last)


def _grouped(words: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole lines together up to ``most`` words, every group filled up to the longest; and the place each word came from."""
    bounds = np.append(np.flatnonzero(Word(words).first), words.size)
    cuts = list(_cuts(bounds, most))
    places = np.arange(max(end - begin for begin, end in cuts))[None] + np.array([[begin] for begin, _ in cuts])
    ends = np.array([[end] for _, end in cuts])
    # The filling repeats the last block's address, so nothing is loaded for it, and has no kind, so nothing is computed.
    order = np.minimum(places, ends - 1)
    return np.where(places < ends, words[order], words[order] & ~np.int32(15)), order


def _cuts(bounds: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < bounds[-1]:
        end = int(bounds[np.searchsorted(bounds, begin + most, "right") - 1])
        if end == begin:
            raise NotImplementedError(
                f"pallas_tpu holds at most {most} live blocks of one row or column in scalar memory, got more"
            )
        yield begin, end
        begin = end
