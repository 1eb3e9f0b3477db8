"""Batches of several tasks: rows packed full with pairs of one task each, mixed at the tasks' rates."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import grain
import numpy as np
from jaxtyping import Int

from efficient_attn.data.batches import Batch
from efficient_attn.data.examples import ShuffledBatches
from efficient_attn.data.packing import pack_pairs
from efficient_attn.data.pair_batches import text_rows
from efficient_attn.data.subwords import Texts, TokenPairs


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MixtureBatches(ShuffledBatches):
    """Rows with as many pairs of a task as fit, the rows of each task in a new order each time all were seen; without end.

    A task's rows follow each other at such distances that its share of the pairs is its rate, over any stretch but for a rounding.
    Which pairs share a row is drawn once, from the seed. A text that is longer than a row is cut, and keeps its end.

    Raises:
        ValueError: The tasks of pairs and rates differ, the batch does not divide among the processes, or the seed is not an
            unsigned 32-bit number.
    """

    pairs: Mapping[str, TokenPairs]
    """What is read, by task."""
    rates: Mapping[str, float]
    """The share of each task among the pairs."""
    widths: tuple[int, int]
    """Tokens of a row of sources, and of one of targets."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0..2**32 - 1, got {self.seed}")
        if not self.pairs or set(self.pairs) != set(self.rates):
            raise ValueError(f"pairs and rates should be of the same tasks, got {[*self.pairs]} and {[*self.rates]}")

    @functools.cached_property
    def cut(self) -> tuple[int, int]:
        """Sources and targets that are longer than a row."""
        lengths = np.concatenate([pairs.lengths for pairs in self.pairs.values()])
        sources, targets = np.count_nonzero(lengths > np.array(self.widths), axis=0)
        return int(sources), int(targets)

    @property
    def rows_per_epoch(self) -> int:
        """Rows that hold every pair once."""
        return sum(map(len, self._rows))

    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """The rows of these numbers, counted through all tasks."""
        batches = [self._row(int(row)) for row in rows]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def _order(self) -> grain.MapDataset:
        """The numbers of the rows in the order in which they are seen."""
        each, weights = [], []
        for place, (name, rows) in enumerate(zip(self.pairs, self._rows, strict=True)):
            numbers = grain.MapDataset.range(self._firsts[place], self._firsts[place] + len(rows))
            each.append(numbers.seed((self.seed + place) % 2**32).shuffle().repeat())
            # Rows of a task, as often as one of its pairs should be seen.
            weights.append(len(rows) * self.rates[name] / len(self.pairs[name]))
        return grain.MapDataset.mix(each, weights=[weight / sum(weights) for weight in weights])

    def _row(self, number: int) -> Batch:
        place = int(np.searchsorted(self._firsts, number, side="right")) - 1
        sides, members = self._texts[place], self._rows[place][number - self._firsts[place]]
        named = zip(sides, self.widths, ("source", "target"), strict=True)
        found = [text_rows(texts, [members], width, name) for texts, width, name in named]
        return found[0] | found[1]

    @functools.cached_property
    def _texts(self) -> list[tuple[Texts, Texts]]:
        """Both sides of the pairs of each task, cut."""
        return [
            (shortened(pairs.source, self.widths[0]), shortened(pairs.target, self.widths[1]))
            for pairs in self.pairs.values()
        ]

    @functools.cached_property
    def _rows(self) -> list[Sequence[Int[np.ndarray, " _"]]]:
        """For each task, the pairs of each row."""
        made = []
        for source, target in self._texts:
            order = np.random.default_rng(self.seed).permutation(len(source))
            rows = pack_pairs(np.stack([source.lengths, target.lengths], axis=1)[order], self.widths)
            chosen = order[np.argsort(rows, kind="stable")]
            made.append(np.split(chosen, np.cumsum(np.bincount(rows))[:-1]))
        return made

    @functools.cached_property
    def _firsts(self) -> list[int]:
        """The number of the first row of each task."""
        return np.cumsum([0, *map(len, self._rows[:-1])]).tolist()


def shortened(texts: Texts, longest: int) -> Texts:
    """Texts of at most ``longest`` tokens, the last of which is still their end."""
    lengths = texts.lengths
    if not np.any(lengths > longest):
        return texts
    place = np.arange(len(texts.tokens)) - np.repeat(texts.ends - lengths, lengths)
    kept = place < longest
    tokens = np.array(texts.tokens)
    ends = texts.ends[lengths > longest]
    tokens[ends - lengths[lengths > longest] + longest - 1] = tokens[ends - 1]
    return Texts(tokens=tokens[kept], ends=np.cumsum(np.minimum(lengths, longest)))
