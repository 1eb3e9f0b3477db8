"""A rectangle of positions, of which patterns are asked at once, and the operators it is made with."""

import dataclasses
from typing import Any

import numpy as np

# A position array: numpy, jax, or a plain integer. Patterns use operators only and never ask which.
Positions = Any
Flags = Any


def minimum(a: Positions, b: Positions) -> Positions:
    """Smaller of two integer arrays by operators alone, which numpy, jax and traced values all have."""
    return a + (b - a) * (b < a)


def maximum(a: Positions, b: Positions) -> Positions:
    """Larger of two integer arrays by operators alone."""
    return a + (b - a) * (b > a)


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle of positions cut by a diagonal strip: the pairs a pattern is asked about at once.

    The pairs are ``q_lo <= i <= q_hi``, ``k_lo <= j <= k_hi`` and ``d_lo <= i - j <= d_hi``; every bound is inclusive and may be
    an array, for many boxes at once. The strip is how ``Causal`` and ``Window`` narrow the question that is put to the
    other members of an intersection, which makes such intersections exact.
    """

    q_lo: Positions
    q_hi: Positions
    k_lo: Positions
    k_hi: Positions
    d_lo: Positions
    d_hi: Positions

    @classmethod
    def of(cls, q_lo: Positions, q_hi: Positions, k_lo: Positions, k_hi: Positions) -> "Box":
        """The box of all pairs in the rectangle."""
        return cls(q_lo, q_hi, k_lo, k_hi, q_lo - k_hi, q_hi - k_lo)

    def within(self, *, q: tuple | None = None, k: tuple | None = None, d: tuple | None = None) -> "Box":
        """The part of this box inside the given inclusive ranges of queries, keys and offsets."""
        q_lo, q_hi = self.q_lo, self.q_hi
        k_lo, k_hi = self.k_lo, self.k_hi
        d_lo, d_hi = self.d_lo, self.d_hi
        if q is not None:
            q_lo, q_hi = maximum(q_lo, q[0]), minimum(q_hi, q[1])
        if k is not None:
            k_lo, k_hi = maximum(k_lo, k[0]), minimum(k_hi, k[1])
        if d is not None:
            d_lo, d_hi = maximum(d_lo, d[0]), minimum(d_hi, d[1])
        return Box(q_lo, q_hi, k_lo, k_hi, maximum(d_lo, q_lo - k_hi), minimum(d_hi, q_hi - k_lo))

    def occupied(self) -> Flags:
        """Whether the box holds at least one pair."""
        return (self.q_lo <= self.q_hi) & (self.k_lo <= self.k_hi) & (self.d_lo <= self.d_hi)

    def cut(self) -> bool:
        """Whether some box's strip of offsets excludes a part of its rectangle; True for traced bounds, which cannot tell."""
        if not isinstance(self.q_lo, np.ndarray | np.generic | int):
            return True
        return bool(np.any(self.d_lo > self.q_lo - self.k_hi) or np.any(self.d_hi < self.q_hi - self.k_lo))

    def keys(self) -> tuple[Positions, Positions]:
        """The inclusive range of keys that occur in some pair of the box."""
        return maximum(self.k_lo, self.q_lo - self.d_hi), minimum(self.k_hi, self.q_hi - self.d_lo)

    def queries(self) -> tuple[Positions, Positions]:
        """The inclusive range of queries that occur in some pair of the box."""
        return maximum(self.q_lo, self.k_lo + self.d_lo), minimum(self.q_hi, self.k_hi + self.d_hi)
