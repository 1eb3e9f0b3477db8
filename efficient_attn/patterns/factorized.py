"""The factorised patterns of the Sparse Transformer: strided and fixed.

Each is one half of a factorisation of full causal attention into two steps of O(sqrt(n)) keys; combine with ``Causal()``
and, for the strided kind, with a ``Window``:

* strided, merged: ``Causal() & (Window(left=l - 1) | Strided(l))``, or the two halves in alternate layers;
* fixed, merged: ``Causal() & Fixed(stride=l, summary=c)``.

Where paper and released code differ: the paper's local half is ``i - l <= j <= i``, which is ``l + 1`` keys
(``Window(left=l)``); the code keeps ``l`` (``Window(left=l - 1)``). The paper's summary residues are ``l - c .. l``, of
which ``l`` cannot occur; the code's are ``l - c .. l - 1``, as here.

References:
  Child, Gray, Radford, Sutskever, "Generating Long Sequences with Sparse Transformers", 2019, sections 4.2 and 4.3.
"""

import dataclasses

from efficient_attn.patterns.algebra import Pattern, PerHead, whole_number
from efficient_attn.patterns.box import Box, Flags, Positions, maximum, minimum
from efficient_attn.patterns.local import Chunk


@dataclasses.dataclass(frozen=True)
class Strided(Pattern):
    """Every ``stride``-th key, counted from the query: ``(i - j) % stride == 0``.

    Args:
      stride: distance between the keys a query sees.
    """

    stride: int

    def __post_init__(self):
        object.__setattr__(self, "stride", whole_number(self.stride, "Strided.stride", least=1))

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (i - j) % self.stride == 0

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        may = box.occupied() & (box.d_hi // self.stride * self.stride >= box.d_lo)
        return may, may & ((box.d_lo == box.d_hi) | (self.stride == 1))


@dataclasses.dataclass(frozen=True)
class Columns(Pattern):
    """Keys in the columns ``first .. end - 1`` of every run of ``stride``, for every query."""

    stride: int
    first: int
    end: int

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (j % self.stride >= self.first) & (j % self.stride < self.end) & (i == i)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        lo, hi = box.keys()
        return box.occupied() & self.some(lo, hi), box.occupied() & self.every(box.k_lo, box.k_hi)

    def some(self, lo: Positions, hi: Positions) -> Flags:
        """Whether the range holds a column: the last run that starts its columns by ``hi`` must end them past ``lo``."""
        return (hi - self.first) // self.stride * self.stride + self.end - 1 >= lo

    def every(self, lo: Positions, hi: Positions) -> Flags:
        """Whether the range ``lo..hi`` holds columns only."""
        if self.end - self.first == self.stride:
            return lo == lo
        residue = lo % self.stride
        return (residue >= self.first) & (residue + (hi - lo) < self.end)


@dataclasses.dataclass(frozen=True)
class Fixed(Pattern):
    """A query sees its own run of ``stride`` positions, and the ``summary`` columns of every run.

    ``i // stride == j // stride``, or ``j % stride`` in ``[stride - (group + 1) * summary, stride - group * summary)``.

    Args:
      stride: positions in a run.
      summary: summary columns in each run.
      group: which columns: 0 takes the last ``summary`` of a run, 1 those before them, and so on. Giving heads different
        groups works better than sharing one (section 4.3); ``fixed_heads`` deals them out.
    """

    stride: int
    summary: int
    group: int = 0

    def __post_init__(self):
        object.__setattr__(self, "stride", whole_number(self.stride, "Fixed.stride", least=1))
        object.__setattr__(self, "summary", whole_number(self.summary, "Fixed.summary", least=1))
        object.__setattr__(self, "group", whole_number(self.group, "Fixed.group", least=0))
        if (self.group + 1) * self.summary > self.stride:
            raise ValueError(
                f"Fixed needs (group + 1) * summary <= stride, got group={self.group}, summary={self.summary}, stride={self.stride}"
            )

    @property
    def columns(self) -> tuple[int, int]:
        """The residues of the summary columns: first, and one past the last."""
        return self.stride - (self.group + 1) * self.summary, self.stride - self.group * self.summary

    def allows(self, i: Positions, j: Positions) -> Flags:
        return (i // self.stride == j // self.stride) | Columns(self.stride, *self.columns).allows(i, j)

    def bounds(self, box: Box) -> tuple[Flags, Flags]:
        columns = Columns(self.stride, *self.columns)
        may = Chunk(self.stride).bounds(box)[0] | (box.occupied() & columns.some(*box.keys()))
        start = box.q_lo // self.stride * self.stride
        end = start + self.stride
        # Within one run of queries, the keys before and after that run must all be summary columns.
        before = (box.k_lo >= start) | columns.every(box.k_lo, minimum(box.k_hi, start - 1))
        after = (box.k_hi < end) | columns.every(maximum(box.k_lo, end), box.k_hi)
        must = ((box.q_hi < end) & before & after) | columns.every(box.k_lo, box.k_hi)
        return may, box.occupied() & must


def fixed_heads(*, heads: int, stride: int, summary: int, groups: int) -> PerHead:
    """The released code's fixed pattern: head ``h`` takes summary group ``h % groups``. Combine with ``Causal()``.

    Args:
      heads: query heads.
      stride: positions in a run.
      summary: summary columns per head and run.
      groups: how many groups are dealt out among the heads; must divide ``heads``.

    Raises:
      ValueError: if ``groups`` does not divide ``heads``, or the groups do not fit the stride.
    """
    if whole_number(heads, "heads", least=1) % whole_number(groups, "groups", least=1):
        raise ValueError(f"groups must divide heads, got groups={groups}, heads={heads}")
    return PerHead([Fixed(stride=stride, summary=summary, group=h % groups) for h in range(heads)])
