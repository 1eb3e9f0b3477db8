"""Patterns of nearby positions: causal, sliding windows plain and dilated, chunks alone and beside each other, prefixes.

References:
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, section 3.1: window, dilated window.
  Kitaev, Kaiser, Levskaya, "Reformer: The Efficient Transformer", 2020, released code: chunks beside chunks.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable

import numpy as np

from efficient_attn.patterns.algebra import OffsetStrip, Pattern, whole_number
from efficient_attn.patterns.box import Box, Flags, Positions, maximum, minimum


@dataclasses.dataclass(frozen=True)
class Causal(OffsetStrip):
    """A query sees itself and what came before: ``j <= i``."""

    def allows(self, i: Positions, j: Positions) -> Flags:
        return j <= i

    def offsets(self, box: Box) -> tuple[Positions, Positions]:
        return 0, box.d_hi


@dataclasses.dataclass(frozen=True)
class Window(OffsetStrip):
    """A query sees ``left`` keys before itself, itself, and ``right`` keys after: ``-right <= i - j <= left``.

    Args:
      left: keys before the query, the query's own position not counted.
      right: keys after it, likewise; 0 makes the window causal.
    """

    left: int
    right: int = 0

    def __post_init__(self):
        object.__setattr__(self, "left", whole_number(self.left, "Window.left", least=0))
        object.__setattr__(self, "right", whole_number(self.right, "Window.right", least=0))

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (i - j <= self.left) & (j - i <= self.right)

    def offsets(self, box: Box) -> tuple[Positions, Positions]:
        return -self.right, self.left


@dataclasses.dataclass(frozen=True)
class Dilated(Pattern):
    """A window with gaps: ``j = i + dilation * t`` for ``-left <= t <= right``.

    Args:
      left: keys before the query, the query's own position not counted.
      right: keys after it, likewise.
      dilation: distance between neighbouring keys; 1 is a plain window.
    """

    left: int
    right: int = 0
    dilation: int = 2

    def __post_init__(self):
        object.__setattr__(self, "left", whole_number(self.left, "Dilated.left", least=0))
        object.__setattr__(self, "right", whole_number(self.right, "Dilated.right", least=0))
        object.__setattr__(self, "dilation", whole_number(self.dilation, "Dilated.dilation", least=1))

    def allows(self, i: Positions, j: Positions) -> Flags:
        d = i - j
        return (d % self.dilation == 0) & (d <= self.left * self.dilation) & (d >= -self.right * self.dilation)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        inside = box.within(d=(-self.right * self.dilation, self.left * self.dilation))
        largest = inside.d_hi // self.dilation * self.dilation
        may = inside.occupied() & (largest >= inside.d_lo)
        one_offset = (box.d_lo == box.d_hi) | (self.dilation == 1)
        must = may & one_offset & (box.d_lo >= -self.right * self.dilation) & (box.d_hi <= self.left * self.dilation)
        return may, must


@dataclasses.dataclass(frozen=True)
class Chunk(Pattern):
    """Queries and keys of the same run of ``size`` positions see each other: ``i // size == j // size``.

    Args:
      size: positions in a chunk.
    """

    size: int

    def __post_init__(self):
        object.__setattr__(self, "size", whole_number(self.size, "Chunk.size", least=1))

    def allows(self, i: Positions, j: Positions) -> Flags:
        return i // self.size == j // self.size

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        first = maximum(box.q_lo // self.size, box.k_lo // self.size)
        last = minimum(box.q_hi // self.size, box.k_hi // self.size)
        # The chunks strictly between the first and the last lie inside the box whole, so one of them stands for all.
        may = self._chunk(box, first) | self._chunk(box, minimum(first + 1, last)) | self._chunk(box, last)
        one = (box.q_lo // self.size == box.q_hi // self.size) & (box.k_lo // self.size == box.k_hi // self.size)
        must = box.occupied() & one & (box.q_lo // self.size == box.k_lo // self.size)
        return may & (first <= last), must

    def _chunk(self, box: Box, index: Positions) -> Flags:
        span = (index * self.size, index * self.size + self.size - 1)
        return box.within(q=span, k=span).occupied()


@dataclasses.dataclass(frozen=True)
class NearChunks(Pattern):
    """A query sees its own chunk and those beside it: ``-right <= i // size - j // size <= left``.

    Args:
      size: positions in a chunk.
      left: chunks before the query's own.
      right: chunks after it.
      ring: chunks in all, where the last lies beside the first, as in Reformer's local layers; 0: they lie in a row.
    """

    size: int
    left: int = 1
    right: int = 0
    ring: int = 0

    def __post_init__(self):
        for name, least in (("size", 1), ("left", 0), ("right", 0), ("ring", 0)):
            object.__setattr__(self, name, whole_number(getattr(self, name), f"NearChunks.{name}", least=least))

    def allows(self, i: Positions, j: Positions) -> Flags:
        return self._any(lambda left, right: self._between(i, j, left, right))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        lo = box.q_lo // self.size - box.k_hi // self.size
        hi = box.q_hi // self.size - box.k_lo // self.size
        may = self._any(lambda left, right: (lo <= left) & (hi >= -right))
        must = self._any(lambda left, right: (lo >= -right) & (hi <= left))
        # A cut through the box leaves offsets that no pair of near chunks has.
        reach = (-(self.right + 1) * self.size + 1, (self.left + 1) * self.size - 1)
        near = box.occupied() if self.ring else box.within(d=reach).occupied()
        return may & near, must & box.occupied()

    def _between(self, i: Positions, j: Positions, left: int, right: int) -> Flags:
        apart = i // self.size - j // self.size
        return (apart <= left) & (apart >= -right)

    def _any(self, test: Callable[[int, int], Flags]) -> Flags:
        """Whether ``test`` holds for the chunks beside, or for those beside around the ring."""
        turns = (0, -self.ring, self.ring) if self.ring else (0,)
        return functools.reduce(operator.or_, (test(self.left + turn, self.right - turn) for turn in turns))


@dataclasses.dataclass(frozen=True)
class Prefix(Pattern):
    """The first ``length`` keys are seen by every query: ``j < length``. With ``Causal() |`` it is a prefix language model.

    Args:
      length: keys in the prefix.
    """

    length: int

    def __post_init__(self):
        object.__setattr__(self, "length", whole_number(self.length, "Prefix.length", least=0))

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (j < self.length) & (i == i)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        must = box.occupied() & (box.k_hi < self.length)
        return box.within(k=(box.k_lo, self.length - 1)).occupied(), must


def looks_ahead(pattern: Pattern, length: int) -> bool:
    """Whether some query of ``length`` may see a key after it, as far as ``bounds`` can tell; never False where one does."""
    may, _ = pattern.bounds(Box(0, length - 1, 0, length - 1, 1 - length, -1))
    return bool(np.any(may))
