"""Who may attend to whom: predicates over a query position ``i`` and a key position ``j``, and their algebra.

A pattern is a small immutable value. It answers two questions, both with array operators only, so that one body of code
serves numpy on the host, traced positions inside a jitted program, and a kernel's iotas:

* ``allows(i, j)``: may the query at ``i`` see the key at ``j``?
* ``bounds(box)``: over a whole rectangle of positions, may anything be seen (``may``), is everything seen (``must``)?

The second is interval arithmetic: it classifies a block of any size in O(1), so no ``n * n`` array is ever evaluated.
"""

import abc
import dataclasses
import functools
from typing import Any

import numpy as np

from efficient_attn.patterns.box import Box, Flags, Positions


class Pattern(abc.ABC):
    """Base of every pattern. A subclass is a frozen dataclass with ``allows`` and, if it can, ``bounds``."""

    @abc.abstractmethod
    def allows(self, i: Positions, j: Positions) -> Flags:
        """Whether query position ``i`` may see key position ``j``; broadcasts, numpy or jax."""

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        """``(may, must)`` over ``box``: some pair may be allowed; every pair is allowed.

        Must be sound: ``may`` is true wherever a pair is allowed, ``must`` is false wherever a pair is not. The default says
        "some, perhaps", so every block of a pattern without bounds is evaluated element by element.
        """
        occupied = box.occupied()
        return occupied, occupied & False

    def __and__(self, other: "Pattern") -> "Pattern":
        return _combine(And, self, other)

    def __or__(self, other: "Pattern") -> "Pattern":
        return _combine(Or, self, other)

    def __invert__(self) -> "Pattern":
        return Not(self)

    def __bool__(self) -> bool:
        raise TypeError("a pattern has no truth value: combine patterns with & | ~, not with and, or, not")

    def dense(self, q_len: int, k_len: int) -> np.ndarray:
        """The whole mask, for looking at and for testing: bool ``[q_len, k_len]``. Costs ``q_len * k_len`` bytes and more."""
        i, j = np.arange(_length(q_len, "q_len"))[:, None], np.arange(_length(k_len, "k_len"))[None, :]
        return np.broadcast_to(np.asarray(self.allows(i, j)), (q_len, k_len)).copy()

    def block_mask(self, q_len: int, k_len: int, block: int = 128):
        """The live blocks of this pattern over ``q_len`` queries and ``k_len`` keys, as a ``BlockMask``.

        Cost: O((q_len / block) * (k_len / block)) interval tests at worst, far fewer where large areas are empty or full.
        """
        from efficient_attn.patterns.block_mask import build_block_mask

        return build_block_mask(self, _length(q_len, "q_len"), _length(k_len, "k_len"), _length(block, "block"))

    def _repr_png_(self) -> bytes | None:
        """A picture for notebooks."""
        from efficient_attn.patterns.picture import notebook_png

        return notebook_png(self)


def _length(value: int, name: str) -> int:
    return whole_number(value, name, least=1)


def whole_number(value: Any, name: str, *, least: int) -> int:
    """``value`` as an int of at least ``least``, or a ValueError that says what was expected and what came."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def _as_pattern(value: Any) -> Pattern:
    if not isinstance(value, Pattern):
        raise TypeError(f"a pattern combines only with patterns, got {type(value).__name__}: {value!r}")
    return value


def _combine(node: type, left: Any, right: Any) -> Pattern:
    """``left`` and ``right`` under ``node``, nested nodes of that kind flattened, per-head lists kept outermost."""
    left, right = _as_pattern(left), _as_pattern(right)
    if isinstance(left, PerHead) or isinstance(right, PerHead):
        return _combine_per_head(node, left, right)
    parts = []
    for side in (left, right):
        parts.extend(side.parts if isinstance(side, node) else (side,))
    return node(tuple(parts))


def _combine_per_head(node: type, left: Pattern, right: Pattern) -> "PerHead":
    heads = {len(side.patterns) for side in (left, right) if isinstance(side, PerHead)}
    if len(heads) != 1:
        raise ValueError(
            f"per-head patterns combine head by head: both need the same number of heads, got {sorted(heads)}"
        )
    (count,) = heads
    lefts = left.patterns if isinstance(left, PerHead) else (left,) * count
    rights = right.patterns if isinstance(right, PerHead) else (right,) * count
    return PerHead(tuple(_combine(node, a, b) for a, b in zip(lefts, rights, strict=True)))


@dataclasses.dataclass(frozen=True)
class And(Pattern):
    """Pairs that every part allows."""

    parts: tuple[Pattern, ...]

    def allows(self, i: Positions, j: Positions) -> Flags:
        return functools.reduce(lambda a, b: a & b, (p.allows(i, j) for p in self.parts))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        """Exact when at most one part is other than a strip of offsets: the strips narrow what the others are asked."""
        strips = [p for p in self.parts if isinstance(p, OffsetStrip)]
        others = [p for p in self.parts if not isinstance(p, OffsetStrip)]
        narrowed, must = box, box.occupied()
        for strip in strips:
            must = must & strip.bounds(box)[1]
            narrowed = narrowed.within(d=strip.offsets(box))
        may = narrowed.occupied()
        for part in others:
            part_may, part_must = part.bounds(narrowed)
            may, must = may & part_may, must & part_must
        return may, must

    def __repr__(self) -> str:
        return "(" + " & ".join(map(repr, self.parts)) + ")"


@dataclasses.dataclass(frozen=True)
class Or(Pattern):
    """Pairs that some part allows."""

    parts: tuple[Pattern, ...]

    def allows(self, i: Positions, j: Positions) -> Flags:
        return functools.reduce(lambda a, b: a | b, (p.allows(i, j) for p in self.parts))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        return tuple(
            functools.reduce(lambda a, b: a | b, flags)
            for flags in zip(*(p.bounds(box) for p in self.parts), strict=True)
        )

    def __repr__(self) -> str:
        return "(" + " | ".join(map(repr, self.parts)) + ")"


@dataclasses.dataclass(frozen=True)
class Not(Pattern):
    """Pairs that the part does not allow."""

    part: Pattern

    def allows(self, i: Positions, j: Positions) -> Flags:
        return self.part.allows(i, j) ^ True

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        may, must = self.part.bounds(box)
        occupied = box.occupied()
        return occupied & (must ^ True), occupied & (may ^ True)

    def __repr__(self) -> str:
        return f"~{self.part!r}"


class OffsetStrip(Pattern):
    """A pattern that allows one contiguous range of offsets ``i - j``: the kind that narrows a ``Box``."""

    @abc.abstractmethod
    def offsets(self, box: Box) -> tuple[Positions, Positions]:
        """The inclusive range of offsets allowed; an open end is the end of ``box``."""

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        lo, hi = self.offsets(box)
        must = box.occupied() & (box.d_lo >= lo) & (box.d_hi <= hi)
        return box.within(d=(lo, hi)).occupied(), must


@dataclasses.dataclass(frozen=True)
class Full(Pattern):
    """Every query sees every key."""

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (i - j) == (i - j)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        return box.occupied(), box.occupied()


@dataclasses.dataclass(frozen=True)
class PerHead(Pattern):
    """A pattern for each query head, in order. ``allows`` and ``dense`` lead with a heads axis.

    Args:
      patterns: one pattern per query head; none of them per-head itself.
    """

    patterns: tuple[Pattern, ...]

    def __init__(self, patterns):
        patterns = tuple(_as_pattern(p) for p in patterns)
        if not patterns:
            raise ValueError("PerHead needs at least one pattern, got an empty list")
        if any(isinstance(p, PerHead) for p in patterns):
            raise ValueError("PerHead takes plain patterns, got a PerHead inside a PerHead")
        object.__setattr__(self, "patterns", patterns)

    def __invert__(self) -> Pattern:
        return PerHead(tuple(~p for p in self.patterns))

    def allows(self, i: Positions, j: Positions) -> Flags:
        planes = [p.allows(i, j) & True for p in self.patterns]
        if all(isinstance(plane, np.ndarray | np.generic | bool) for plane in planes):
            return np.stack(np.broadcast_arrays(*planes))
        import jax.numpy as jnp

        return jnp.stack(jnp.broadcast_arrays(*planes))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        """Over all heads together: some head may, every head must."""
        return Or(self.patterns).bounds(box)[0], And(self.patterns).bounds(box)[1]

    def dense(self, q_len: int, k_len: int) -> np.ndarray:
        """The masks of all heads, bool ``[heads, q_len, k_len]``."""
        return np.stack([p.dense(q_len, k_len) for p in self.patterns])

    def __repr__(self) -> str:
        return f"PerHead([{', '.join(map(repr, self.patterns))}])"


def union_of_heads(pattern: Pattern) -> Pattern:
    """What some head may see; the pattern itself where all heads share it."""
    return Or(pattern.patterns) if isinstance(pattern, PerHead) else pattern
