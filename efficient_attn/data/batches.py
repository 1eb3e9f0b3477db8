"""Batches of windows of a stream, as dictionaries of named numpy arrays.

A training batch is a function of seed, step and process: nothing is remembered between steps, so the position that a
checkpoint saves is the step, and resuming on another number of processes gives the same global batches.
"""

import dataclasses
import sys
from collections.abc import Iterator
from typing import cast

import grain
import numpy as np

from efficient_attn.data.stream import TokenStream
from efficient_attn.data.windows import EvaluationWindows

Batch = dict[str, np.ndarray]
"""``tokens`` int32 [B, T] and ``valid`` bool [B, T], and what each function says that it adds. B counts the rows of
this process. ``valid`` is False where a row has run out of tokens; the tokens there are 0."""

# Reading a window takes far less than a training step: two threads and a few batches in stock hide it.
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=8)


def process_rows(batch_size: int, process_index: int, process_count: int) -> range:
    """The rows of a global batch that belong to one process: a contiguous run.

    Args:
        batch_size: Rows of the global batch.
        process_index: Which process this is.
        process_count: Number of processes that share the batch.

    Raises:
        ValueError: The batch does not divide evenly, or there is no such process.
    """
    if process_count < 1 or not 0 <= process_index < process_count:
        raise ValueError(f"process_index must be in 0..process_count - 1, got {process_index} of {process_count}")
    if batch_size < 1 or batch_size % process_count:
        raise ValueError(f"batch_size {batch_size} does not divide evenly among {process_count} processes")
    rows = batch_size // process_count
    return range(process_index * rows, (process_index + 1) * rows)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatches:
    """Shuffled windows of ``context`` tokens, without end.

    In every epoch the windows lie side by side and start at a new random offset, so each token is seen at most once
    an epoch, and at another place in its window in the next. Fewer than two windows' length of tokens sits an epoch
    out, before the first window and after the last.

    Raises:
        ValueError: The stream is shorter than one window, windows do not consist of whole records, the batch does
            not divide among the processes, or the seed is not an unsigned 32-bit number.
    """

    stream: TokenStream
    """What is read."""
    context: int
    """Tokens in a window."""
    batch_size: int
    """Rows of the global batch, over all processes."""
    seed: int
    """Chooses order and offsets, 0 <= seed < 2**32."""
    process_index: int = 0
    """Which process this is."""
    process_count: int = 1
    """Number of processes that share a batch."""
    align: int = 1
    """Windows start at multiples of this many tokens, and consist of so many: a multiple of ``stream.record_length``,
    which keeps images whole."""

    def __post_init__(self):
        process_rows(self.batch_size, self.process_index, self.process_count)
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be in 0..2**32 - 1, got {self.seed}")
        if self.align < 1 or self.context < 1 or self.context % self.align:
            raise ValueError(f"context must be a positive multiple of align={self.align}, got {self.context}")
        if self.align % self.stream.record_length:
            raise ValueError(f"align must be a multiple of the stream's {self.stream.record_length}, got {self.align}")
        _require_tokens(self.stream, self.context)

    @property
    def windows_per_epoch(self) -> int:
        """Number of windows in one pass over the stream."""
        # Keeps room for every offset below a window's length; a window that is one record needs none.
        return max(1, (len(self.stream) - (self.context - self.align)) // self.context)

    def at(self, step: int) -> Batch:
        """This process's rows of the batch of one step.

        Raises:
            ValueError: ``step`` is negative.
        """
        return _training_batch(self, _shuffled_starts(self), _checked_step(step))

    def iterate(self, start_step: int = 0) -> grain.DatasetIterator[Batch]:
        """Yields ``at(start_step)``, ``at(start_step + 1)``, ... without end, read ahead by threads.

        The iterator is Grain's: ``get_state()["next_index"]`` is the next step.

        Raises:
            ValueError: ``start_step`` is negative.
        """
        starts = _shuffled_starts(self)
        steps = grain.MapDataset.range(sys.maxsize).map(lambda step: _training_batch(self, starts, step))
        iterator = iter(steps.to_iter_dataset(_READ))
        iterator.set_state({"next_index": _checked_step(start_step)})
        return iterator


def _shuffled_starts(batches: TrainingBatches) -> grain.MapDataset:
    """The start of every training window by its place in the endless order, with a new shuffle each epoch."""
    count = batches.windows_per_epoch
    offsets = 1 + (len(batches.stream) - count * batches.context) // batches.align

    def start(place: int, window: int) -> int:
        offset = np.random.default_rng((batches.seed, place // count)).integers(offsets)
        return window * batches.context + int(offset) * batches.align

    return grain.MapDataset.range(count).seed(batches.seed).shuffle().repeat().map_with_index(start)


def _training_batch(batches: TrainingBatches, starts: grain.MapDataset, step: int) -> Batch:
    rows = process_rows(batches.batch_size, batches.process_index, batches.process_count)
    # Grain types an element as optional, for data sets that filter.
    chosen = [cast(int, starts[step * batches.batch_size + row]) for row in rows]
    return _read_rows(batches.stream, [(start, start + batches.context) for start in chosen], batches.context)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ContiguousBatches:
    """Parallel contiguous readings of a stream, for models that carry a memory from one segment to the next.

    The stream is cut into ``batch_size`` runs of equal length (but for one token); step ``t`` yields segment ``t`` of
    every run, and after the last segment the first follows again. Each token is yielded exactly once an epoch. The
    batches also hold ``restart`` bool [B]: the row begins its run, so the memory before it must be forgotten.

    Raises:
        ValueError: A run is shorter than one segment, or the batch does not divide among the processes.
    """

    stream: TokenStream
    """What is read."""
    context: int
    """Tokens in a segment."""
    batch_size: int
    """Rows of the global batch, over all processes."""
    process_index: int = 0
    """Which process this is."""
    process_count: int = 1
    """Number of processes that share a batch."""

    def __post_init__(self):
        process_rows(self.batch_size, self.process_index, self.process_count)
        if self.context < 1:
            raise ValueError(f"context must be at least 1 token, got {self.context}")
        _require_tokens(self.stream, self.context * self.batch_size)

    @property
    def steps_per_epoch(self) -> int:
        """Number of segments of the longest run."""
        longest = -(-len(self.stream) // self.batch_size)
        return -(-longest // self.context)

    def at(self, step: int) -> Batch:
        """This process's rows of the batch of one step.

        Raises:
            ValueError: ``step`` is negative.
        """
        segment = _checked_step(step) % self.steps_per_epoch
        rows = process_rows(self.batch_size, self.process_index, self.process_count)
        length = len(self.stream)
        spans = []
        for row in rows:
            begin, end = row * length // self.batch_size, (row + 1) * length // self.batch_size
            start = begin + segment * self.context
            spans.append((start, min(start + self.context, end)))
        batch = _read_rows(self.stream, spans, self.context)
        return {**batch, "restart": np.full(len(rows), segment == 0)}

    def iterate(self, start_step: int = 0) -> grain.DatasetIterator[Batch]:
        """Yields ``at(start_step)``, ``at(start_step + 1)``, ... without end, like ``TrainingBatches.iterate``."""
        iterator = iter(grain.MapDataset.range(sys.maxsize).map(self.at).to_iter_dataset(_READ))
        iterator.set_state({"next_index": _checked_step(start_step)})
        return iterator


def evaluation_batches(
    stream: TokenStream, windows: EvaluationWindows, batch_size: int, process_index: int = 0, process_count: int = 1
) -> Iterator[Batch]:
    """Yields all evaluation windows of a stream once, in order; every process gets the same number of batches.

    The batches also hold ``scored`` bool [B, T]: over all batches and processes it is True exactly once for every
    token of the stream. Rows after the last window have no valid token.

    Args:
        stream: What is read.
        windows: The protocol.
        batch_size: Rows of the global batch, over all processes.
        process_index: Which process this is.
        process_count: Number of processes that share a batch.

    Raises:
        ValueError: The batch does not divide among the processes.
    """
    rows = process_rows(batch_size, process_index, process_count)
    firsts = range(0, windows.count(len(stream)), batch_size)
    return (_evaluation_batch(stream, windows, range(first + rows.start, first + rows.stop)) for first in firsts)


def _evaluation_batch(stream: TokenStream, windows: EvaluationWindows, indices: range) -> Batch:
    count = windows.count(len(stream))
    chosen = [windows.window(i, len(stream)) for i in indices if i < count]
    missing = len(indices) - len(chosen)
    batch = _read_rows(stream, [(w.start, w.stop) for w in chosen] + [(0, 0)] * missing, windows.context)
    scored = np.zeros_like(batch["valid"])
    for row, window in enumerate(chosen):
        scored[row, window.scored_from - window.start : window.stop - window.start] = True
    return {**batch, "scored": scored}


def _read_rows(stream: TokenStream, spans: list[tuple[int, int]], context: int) -> Batch:
    """Reads one span ``[start, stop)`` of the stream into each row, from the left."""
    tokens = np.zeros((len(spans), context), np.int32)
    valid = np.zeros((len(spans), context), bool)
    for row, (start, stop) in enumerate(spans):
        length = max(0, stop - start)
        tokens[row, :length] = stream.tokens[start : start + length]
        valid[row, :length] = np.arange(start, start + length) % stream.record_length >= stream.given
    return {"tokens": tokens, "valid": valid}


def _require_tokens(stream: TokenStream, needed: int) -> None:
    if len(stream) < needed:
        raise ValueError(f"{needed} tokens are needed, but the stream has {len(stream)}: {stream.description}")


def _checked_step(step: int) -> int:
    if step < 0:
        raise ValueError(f"steps count from 0, got {step}")
    return step
