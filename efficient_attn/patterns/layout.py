"""Token orders in which strided, dilated and fixed patterns become dense blocks.

A pattern that steps over ``s`` positions touches nearly every block of the natural order, and uses ``1 / s`` of it. Read as
``[length / s, s]`` and transposed, tokens of one residue lie side by side, and the same pattern is a causal triangle or a
window for each residue. The summary columns of ``Fixed``, likewise, are a slice of that array. A union is split into disjoint
parts, each in the order that suits it, whose results ``merge`` puts together.

Reference:
  Child et al., "Generating Long Sequences with Sparse Transformers", 2019, section 5.5 (the transposition).
"""

import dataclasses
import functools
import itertools
import math

from efficient_attn.patterns.algebra import And, Full, Not, Or, Pattern
from efficient_attn.patterns.box import Box, Flags, Positions
from efficient_attn.patterns.factorized import Columns, Fixed, Strided
from efficient_attn.patterns.local import Causal, Chunk, Dilated, Window
from efficient_attn.patterns.shifted import Shifted

# Unions of more parts than this are left whole: every part costs a pass over the queries.
_MOST_TERMS = 8
# Pairs of a block that a part must save for each query before another pass over the queries pays.
_PASS_COST = 128


@dataclasses.dataclass(frozen=True)
class Part:
    """Some of a pattern's pairs and the order of tokens in which they are dense.

    With ``stride`` above 1 and no ``columns``, queries and keys are folded to ``[stride, length / stride]`` and ``pattern``
    holds within each residue. With ``columns``, queries stay and the keys are those with ``key % stride`` in that range, in
    order; ``pattern`` speaks of their index.
    """

    pattern: Pattern
    stride: int = 1
    columns: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.columns is not None:
            return f"keys in columns {self.columns[0]}..{self.columns[1] - 1} of runs of {self.stride}"
        return "natural order" if self.stride == 1 else f"each residue of {self.stride} by itself"

    def lengths(self, length: int) -> tuple[int, int]:
        """Queries and keys of one sequence in this order, for ``length`` tokens padded to whole runs."""
        runs = -(-length // self.stride)
        if self.columns is not None:
            return length, runs * (self.columns[1] - self.columns[0])
        return runs, runs


@dataclasses.dataclass(frozen=True)
class _OfColumns(Pattern):
    """``whole`` for keys that are numbered within the columns."""

    whole: Pattern
    columns: Columns

    def _position(self, index: Positions) -> Positions:
        size = self.columns.end - self.columns.first
        return index // size * self.columns.stride + self.columns.first + index % size

    def allows(self, i: Positions, j: Positions) -> Flags:
        return self.whole.allows(i, self._position(j))

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        # The strip speaks of i - index, which is no offset of positions; without it the box only grows, which is sound.
        may, must = self.whole.bounds(Box.of(box.q_lo, box.q_hi, self._position(box.k_lo), self._position(box.k_hi)))
        return box.occupied() & may, box.occupied() & must


@functools.lru_cache(maxsize=1024)
def layout(pattern: Pattern, length: int) -> tuple[Part, ...]:
    """The parts to run for self-attention over ``length`` tokens: fewest pairs in live blocks, by counting.

    One part of stride 1 is the pattern as it is.
    """
    whole = (Part(pattern),)
    parts = _split(pattern)
    if parts is None:
        return whole
    split_cost = pairs_in_live_blocks(parts, length) + _PASS_COST * length * (len(parts) - 1)
    return parts if split_cost < pairs_in_live_blocks(whole, length) else whole


def folded(pattern: Pattern) -> int:
    """The stride between all pairs of a pattern, whose residues have nothing to do with each other; 1 if there is none."""
    parts = _split(pattern)
    return parts[0].stride if parts is not None and len(parts) == 1 and parts[0].columns is None else 1


def pairs_in_live_blocks(parts: tuple[Part, ...], length: int) -> int:
    """Pairs of query and key in the live blocks of all parts: what is computed for one head.

    Blocks are of 128, or coarser where more than a thousand would lie along a side, so that counting takes a moment.
    """
    block, total = 128 * -(-length // 131_072), 0
    for part in parts:
        q_len, k_len = part.lengths(length)
        size = min(block, q_len)
        copies = part.stride if part.columns is None else 1
        total += copies * part.pattern.block_mask(q_len, k_len, size).active_blocks * size**2
    return total


def _split(pattern: Pattern) -> tuple[Part, ...] | None:
    """Disjoint parts in orders of their own; None if there is nothing to gain or a leaf that has no such order."""
    terms = _terms(pattern)
    groups: dict[object, list[Pattern]] = {}
    for term in terms if len(terms) <= _MOST_TERMS else ():
        groups.setdefault(_order(term), []).append(term)
    if not groups or set(groups) == {1}:
        return None
    parts, earlier = [], None
    # The natural order comes first, columns last: `~earlier` is then made of patterns that any order can express.
    for order in sorted(groups, key=lambda o: (isinstance(o, Columns), 0 if isinstance(o, Columns) else o)):
        part = _part(groups[order], order, earlier)
        if part is None:
            return None
        parts.append(part)
        own = _either(groups[order])
        earlier = own if earlier is None else Or((earlier, own))
    return tuple(parts)


def _part(terms: list[Pattern], order: object, earlier: Pattern | None) -> Part | None:
    if isinstance(order, Columns):
        if earlier is not None and Columns in map(type, _leaves(earlier)):
            return None
        own = _disjoint([_without(term, order) for term in terms], earlier)
        return Part(_OfColumns(own, order), order.stride, (order.first, order.end))
    own = _disjoint(terms, earlier)
    folded = own if order == 1 else _fold(own, order)
    return None if folded is None else Part(folded, order)


def _disjoint(terms: list[Pattern], earlier: Pattern | None) -> Pattern:
    """The union of ``terms`` without what earlier parts hold."""
    own = _either(terms)
    return own if earlier is None else And((own, Not(earlier)))


def _either(terms: list[Pattern]) -> Pattern:
    return terms[0] if len(terms) == 1 else Or(tuple(terms))


def _terms(pattern: Pattern) -> list[Pattern]:
    """The pattern as a union of intersections."""
    if isinstance(pattern, Or):
        return [term for part in pattern.parts for term in _terms(part)]
    if isinstance(pattern, Fixed):
        return [Chunk(pattern.stride), Columns(pattern.stride, *pattern.columns)]
    if isinstance(pattern, And):
        factors = [_terms(part) for part in pattern.parts]
        if math.prod(map(len, factors)) <= _MOST_TERMS:
            return [And(tuple(_conjuncts(choice))) for choice in itertools.product(*factors)]
    return [pattern]


def _conjuncts(patterns) -> list[Pattern]:
    return [leaf for p in patterns for leaf in (p.parts if isinstance(p, And) else (p,))]


def _leaves(pattern: Pattern) -> list[Pattern]:
    parts = pattern.parts if isinstance(pattern, And | Or) else (pattern.part,) if isinstance(pattern, Not) else ()
    return [leaf for part in parts for leaf in _leaves(part)] or [pattern]


def _without(term: Pattern, columns: Columns) -> Pattern:
    """An intersection without its columns."""
    rest = tuple(p for p in _conjuncts([term]) if p != columns)
    return And(rest) if len(rest) > 1 else rest[0] if rest else Full()


def _order(term: Pattern) -> object:
    """The order that suits an intersection: the stride between its pairs, or the columns of its keys."""
    parts = _conjuncts([term])
    columns = [p for p in parts if isinstance(p, Columns)]
    if columns:
        return columns[0]
    return math.lcm(*(p.stride for p in parts if isinstance(p, Strided)), *_dilations(parts))


def _dilations(parts: list[Pattern]) -> list[int]:
    return [p.dilation for p in parts if isinstance(p, Dilated)]


def _fold(pattern: Pattern, stride: int) -> Pattern | None:
    """The pattern between tokens of one residue, ``i = residue + stride * u``, in terms of ``u``; None if it has no such form."""
    if isinstance(pattern, And | Or):
        parts = [_fold(part, stride) for part in pattern.parts]
        return None if None in parts else type(pattern)(tuple(parts))
    if isinstance(pattern, Not):
        part = _fold(pattern.part, stride)
        return None if part is None else Not(part)
    return _fold_leaf(pattern, stride)


def _fold_leaf(leaf: Pattern, stride: int) -> Pattern | None:
    match leaf:
        case Causal() | Full():
            return leaf
        case Window(left, right):
            return Window(left // stride, right // stride)
        case Strided(every):
            return Strided(every // math.gcd(every, stride))
        case Dilated(left, right, dilation) if stride % dilation == 0:
            return Window(left // (stride // dilation), right // (stride // dilation))
        case Chunk(size) if size % stride == 0:
            return Chunk(size // stride)
        case Shifted(part, queries, keys) if queries % stride == 0 and keys % stride == 0:
            part = _fold_leaf(part, stride)
            return None if part is None else Shifted(part, queries // stride, keys // stride)
    return None
