"""Sequences of numbers with what is to be read off their ends: the data of recurrent benchmarks."""

import abc
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Protocol, cast, runtime_checkable

import grain
import numpy as np
from jaxtyping import Float, Int

from efficient_attn.data.batches import Batch, process_rows
from efficient_attn.data.splits import Split

_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """One split: ``inputs [n, T, I]`` and their ``targets``, either ``[n, R, O]`` numbers, for the last ``R`` steps, or ``[n, 1]``
    classes, for the last one."""

    inputs: np.ndarray
    targets: np.ndarray
    description: str
    """Exactly which data this is."""
    present: Callable[[np.ndarray], Float[np.ndarray, "B T I"]] = lambda rows: rows
    """What a model reads of some rows of ``inputs``, which may be kept in less space."""

    def __post_init__(self):
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise ValueError(
                f"there must be as many targets as inputs, and some; got {len(self.targets)} and {len(self.inputs)}"
            )

    def __len__(self) -> int:
        return len(self.inputs)

    def read(self, rows: np.ndarray) -> Batch:
        """These rows."""
        return {"inputs": self.present(self.inputs[rows]), "targets": self.targets[rows]}


@runtime_checkable
class Readable(Protocol):
    """Examples in a fixed order, which are read by their places."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> Batch:
        """These rows."""
        ...


@runtime_checkable
class ExampleSource(Protocol):
    """Where examples come from: a frozen record of fields that reads nothing until it is asked."""

    @property
    def inputs(self) -> int:
        """Features of an input."""
        ...

    @property
    def outputs(self) -> int:
        """Numbers that are predicted at a step, or classes."""
        ...

    @property
    def classes(self) -> bool:
        """Whether targets are classes."""
        ...

    def load(self, split: Split) -> Examples:
        """Reads or draws one split; errors as of ``Source.load``."""
        ...

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShuffledBatches(abc.ABC):
    """Batches of what is numbered, in a new order each epoch, without end; a function of the seed and the step alone.

    Raises:
        ValueError: The batch does not divide among the processes.
    """

    batch_size: int
    """Rows of the global batch, over all processes."""
    seed: int
    process_index: int = 0
    process_count: int = 1

    def __post_init__(self):
        process_rows(self.batch_size, self.process_index, self.process_count)

    @property
    @abc.abstractmethod
    def rows_per_epoch(self) -> int:
        """Rows that hold everything once."""

    @abc.abstractmethod
    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """The rows of these numbers."""

    def at(self, step: int) -> Batch:
        """This process's rows of the batch of one step."""
        if step < 0:
            raise ValueError(f"steps count from 0, got {step}")
        return self._batch(self._order(), step)

    def iterate(self, start_step: int = 0) -> Iterator[Batch]:
        """Yields ``at(start_step)``, ``at(start_step + 1)``, ... without end, read ahead by threads."""
        order = self._order()
        steps = grain.MapDataset.range(sys.maxsize).map(lambda step: self._batch(order, step))
        iterator = iter(steps.to_iter_dataset(_READ))
        iterator.set_state({"next_index": start_step})
        return iterator

    def _order(self) -> grain.MapDataset:
        return grain.MapDataset.range(self.rows_per_epoch).seed(self.seed).shuffle().repeat()

    def _batch(self, order: grain.MapDataset, step: int) -> Batch:
        rows = process_rows(self.batch_size, self.process_index, self.process_count)
        return self.read(np.array([cast(int, order[step * self.batch_size + row]) for row in rows]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ExampleBatches(ShuffledBatches):
    """Batches of examples."""

    examples: Readable

    @property
    def rows_per_epoch(self) -> int:
        """Examples."""
        return len(self.examples)

    def read(self, rows: Int[np.ndarray, " B"]) -> Batch:
        """These examples."""
        return self.examples.read(rows)


def every_example(
    examples: Readable, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Yields every example once, in order, with ``scored`` bool [B]: False for rows that fill up the last batch.

    Args:
        examples: What is read.
        batch_size: Rows of the global batch, over all processes.
        process_index: Which process this is.
        process_count: Number of processes that share a batch.

    Raises:
        ValueError: The batch does not divide among the processes.
    """
    rows = process_rows(batch_size, process_index, process_count)
    for first in range(0, len(examples), batch_size):
        wanted = np.arange(first + rows.start, first + rows.stop)
        yield {**examples.read(np.minimum(wanted, len(examples) - 1)), "scored": wanted < len(examples)}
