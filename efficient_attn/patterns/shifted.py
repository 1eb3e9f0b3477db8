"""What a pattern is within a rectangle of positions, counted from the rectangle's corner."""

import dataclasses
import functools

from efficient_attn.patterns.algebra import And, Full, Not, OffsetStrip, Or, Pattern, PerHead
from efficient_attn.patterns.box import Box, Flags, Positions
from efficient_attn.patterns.factorized import Columns, Fixed, Strided
from efficient_attn.patterns.local import Chunk, Dilated, NearChunks


@dataclasses.dataclass(frozen=True)
class Shifted(Pattern):
    """``part`` where queries are counted from ``queries`` on and keys from ``keys`` on: ``part.allows(i + queries, j + keys)``."""

    part: Pattern
    queries: int
    keys: int

    def allows(self, i: Positions, j: Positions) -> Flags:
        return self.part.allows(i + self.queries, j + self.keys)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        apart = self.queries - self.keys
        return self.part.bounds(
            Box(
                box.q_lo + self.queries,
                box.q_hi + self.queries,
                box.k_lo + self.keys,
                box.k_hi + self.keys,
                box.d_lo + apart,
                box.d_hi + apart,
            )
        )


def within(pattern: Pattern, queries: tuple[int, int], keys: tuple[int, int]) -> Pattern | None:
    """What ``pattern`` is for the positions of a rectangle, counted from its corner; None where nothing is allowed.

    Members that decide nothing there are left out, and rectangles in which a pattern is the same give equal results where its
    members say after how many positions they repeat: causal attention is ``Full`` below the diagonal.

    Args:
      pattern: any pattern. Of heads, all stay, those that see nothing too.
      queries: first position and how many.
      keys: likewise.
    """
    box = Box.of(queries[0], queries[0] + queries[1] - 1, keys[0], keys[0] + keys[1] - 1)
    if not pattern.bounds(box)[0]:
        return None
    if isinstance(pattern, PerHead):
        return PerHead([_simplified(part, box) for part in pattern.patterns])
    return _simplified(pattern, box)


def _simplified(pattern: Pattern, box: Box) -> Pattern:
    may, must = pattern.bounds(box)
    if not may:
        return ~Full()
    if must:
        return Full()
    if isinstance(pattern, And):
        return _joined(And, [part for part in pattern.parts if not part.bounds(box)[1]], box)
    if isinstance(pattern, Or):
        return _joined(Or, [part for part in pattern.parts if part.bounds(box)[0]], box)
    if isinstance(pattern, Not):
        return ~_simplified(pattern.part, box)
    if isinstance(pattern, Fixed) and _apart(pattern.stride, box):
        return _moved(Columns(pattern.stride, *pattern.columns), box.q_lo, box.k_lo)
    return _moved(pattern, box.q_lo, box.k_lo)


def _apart(size: int, box: Box) -> bool:
    """Whether no run of ``size`` positions has both queries and keys."""
    return box.q_lo // size > box.k_hi // size or box.q_hi // size < box.k_lo // size


def _joined(node: type, parts: list[Pattern], box: Box) -> Pattern:
    return functools.reduce(lambda a, b: a & b if node is And else a | b, [_simplified(part, box) for part in parts])


def _moved(pattern: Pattern, queries: int, keys: int) -> Pattern:
    """``Shifted`` by the least that does the same."""
    if isinstance(pattern, Strided) and (queries - keys) % pattern.stride == 0:
        return pattern
    if isinstance(pattern, Columns):
        # Queries do not matter, and keys by their place in a run alone.
        queries, keys = 0, keys % pattern.stride
    period = _period(pattern)
    common = min(queries, keys) // period * period if period else 0
    queries, keys = queries - common, keys - common
    return Shifted(pattern, queries, keys) if queries or keys else pattern


def _period(pattern: Pattern) -> int:
    """A number of positions by which query and key may move together without changing anything; 0: none is known."""
    if isinstance(pattern, OffsetStrip | Dilated | Strided | Full):
        return 1
    if isinstance(pattern, Chunk) or (isinstance(pattern, NearChunks) and not pattern.ring):
        return pattern.size
    return pattern.stride if isinstance(pattern, Fixed) else 0
