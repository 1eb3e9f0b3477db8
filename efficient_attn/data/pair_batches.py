"""Batches of sentence pairs: rows packed full for training, and rows of one pair for evaluation and decoding.

As everywhere, a training batch is a function of seed, step and process.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from efficient_attn.data.batches import Batch
from efficient_attn.data.examples import ShuffledBatches
from efficient_attn.data.packing import pack_pairs
from efficient_attn.data.subwords import Texts, TokenPairs

# The narrowest rows of evaluation, from which on widths double.
_NARROWEST = 16


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PairBatches(ShuffledBatches):
    """Rows of ``context`` tokens on either side, each with as many pairs as fit, in a new order each epoch; without end.

    Which pairs share a row is drawn once, from the seed. What cannot be learned from is left out and counted: pairs of which a
    side is longer than a row, and pairs of which a side is empty.

    Raises:
        ValueError: No pair fits a row, the batch does not divide among the processes, or the seed is not an unsigned 32-bit number.
    """

    pairs: TokenPairs
    """What is read."""
    context: int
    """Tokens of a row, on either side."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0..2**32 - 1, got {self.seed}")
        if self.too_long + self.empty == len(self.pairs):
            raise ValueError(f"no pair fits rows of {self.context} tokens: {self.pairs.description}")

    @functools.cached_property
    def too_long(self) -> int:
        """Pairs of which a side is longer than a row."""
        return int(np.count_nonzero((self.pairs.lengths > self.context).any(axis=1)))

    @functools.cached_property
    def empty(self) -> int:
        """Pairs, of those that fit, of which a side has no token but its end."""
        lengths = self.pairs.lengths
        return int(np.count_nonzero((lengths == 1).any(axis=1) & (lengths <= self.context).all(axis=1)))

    @property
    def rows_per_epoch(self) -> int:
        """Rows that hold every pair once."""
        return len(self._rows[1]) - 1

    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """The pairs of these rows, packed."""
        chosen, begins = self._rows
        return pair_rows(self.pairs, [chosen[begins[row] : begins[row + 1]] for row in rows], self.context)

    @functools.cached_property
    def _rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Pairs in the order of their rows, and where each row begins."""
        lengths = self.pairs.lengths
        fit = np.flatnonzero((lengths <= self.context).all(axis=1) & (lengths > 1).all(axis=1))
        # Neighbours in a text are of one kind: a batch should be of many.
        fit = np.random.default_rng(self.seed).permutation(fit)
        rows = pack_pairs(lengths[fit], self.context)
        order = np.argsort(rows, kind="stable")
        return fit[order], np.searchsorted(rows[order], np.arange(rows.max() + 2))


def pair_rows(pairs: TokenPairs, rows: Sequence[Int[np.ndarray, " _"]], width: int) -> Batch:
    """Both sides of the pairs of each row, as ``text_rows`` has them, by the names ``source`` and ``target``."""
    return text_rows(pairs.source, rows, width, "source") | text_rows(pairs.target, rows, width, "target")


def text_rows(texts: Texts, rows: Sequence[Int[np.ndarray, " _"]], width: int, name: str) -> Batch:
    """Rows of ``width`` tokens with some texts each, the first tokens of those that are longer.

    Args:
        texts: What is read.
        rows: Which texts are in each row.
        width: Tokens of a row.
        name: Of the batch's arrays.

    Returns:
        int32 [B, width]: ``name``, the tokens; ``name_segments``, counted from 1 in each row, 0 in padding, where tokens are 0
        too; ``name_positions``, counted from 0 in each text.
    """
    tokens, segments, positions = (np.zeros((len(rows), width), np.int32) for _ in range(3))
    for row, members in enumerate(rows):
        begin = 0
        for segment, text in enumerate(members, start=1):
            found = texts[text][: width - begin]
            place = (row, slice(begin, begin + len(found)))
            tokens[place], segments[place], positions[place] = found, segment, np.arange(len(found))
            begin += len(found)
    return {name: tokens, f"{name}_segments": segments, f"{name}_positions": positions}


def by_length(lengths: Int[np.ndarray, " n"], rows: int, longest: int) -> Iterator[tuple[Int[np.ndarray, " _"], int]]:
    """Texts of about the same length together, each once, so that little of a row is padding and there are few shapes.

    Args:
        lengths: Tokens of each text.
        rows: Most texts of a batch.
        longest: Width of the widest rows, which longer texts are cut to.

    Yields:
        Which texts are in a batch, and the width of its rows: 16, 32, 64 and so on, or ``longest``.
    """
    width, done = min(_NARROWEST, longest), np.zeros(len(lengths), bool)
    while not done.all():
        here = np.flatnonzero(~done & (lengths <= width)) if width < longest else np.flatnonzero(~done)
        for begin in range(0, len(here), rows):
            yield here[begin : begin + rows], width
        done[here] = True
        width = min(2 * width, longest)
