"""A training batch is a function of seed, step and process, and an epoch is a pass over the stream."""

import itertools

import numpy as np
import pytest

from efficient_attn.data import ContiguousBatches, TokenStream, TrainingBatches


def numbered(length, record_length=1):
    """A stream that counts in two-byte numbers, so that a window's first bytes tell where it lies."""
    places = np.arange(length // 2, dtype="<u2").view(np.uint8)
    return TokenStream(tokens=places, record_length=record_length, description="made for a test")


def starts_of(batch):
    """The place on a ``numbered`` stream where each row starts."""
    tokens = batch["tokens"]
    # A window with an even start begins with a whole number, one with an odd start with half of one.
    even = tokens[:, 0] + 256 * tokens[:, 1]
    odd = tokens[:, 1] + 256 * tokens[:, 2]
    is_even = tokens[:, 2] + 256 * tokens[:, 3] == even + 1
    return np.where(is_even, 2 * even, 2 * odd - 1)


def batches(**changes):
    fields = dict(stream=numbered(10_000), context=97, batch_size=8, seed=3) | changes
    return TrainingBatches(**fields)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_batch_is_what_it_says():
    batch = batches().at(5)
    assert {name: (array.shape, array.dtype.name) for name, array in batch.items()} == {
        "tokens": ((8, 97), "int32"),
        "valid": ((8, 97), "bool"),
    }
    assert batch["valid"].all()
    for start, row in zip(starts_of(batch), batch["tokens"], strict=True):
        assert np.array_equal(row, numbered(10_000).tokens[start : start + 97])


def test_same_seed_same_batches_other_seed_others():
    assert all(equal(batches().at(step), batches().at(step)) for step in (0, 1, 1000, 10**9))
    assert not equal(batches().at(0), batches(seed=4).at(0))
    assert not equal(batches().at(0), batches().at(1))


def test_order_is_that_of_earlier_versions():
    # A run resumed after an upgrade would otherwise read some windows twice and others never.
    assert starts_of(batches().at(5)).tolist() == [5518, 2511, 862, 8331, 9301, 9204, 9883, 1832]


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_any_number_of_processes_gives_the_same_global_batch(processes):
    for step in (0, 7, 123):
        parts = [batches(process_index=i, process_count=processes).at(step) for i in range(processes)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert equal(joined, batches().at(step))


@pytest.mark.parametrize("kind", ["shuffled", "contiguous"])
def test_iterating_equals_indexing_and_its_position_is_the_step(kind):
    source = batches() if kind == "shuffled" else ContiguousBatches(stream=numbered(9000), context=97, batch_size=8)
    iterator = source.iterate(start_step=41)
    for step in range(41, 61):
        assert iterator.get_state()["next_index"] == step
        assert equal(next(iterator), source.at(step))
    resumed = source.iterate()
    resumed.set_state(iterator.get_state())
    assert equal(next(resumed), source.at(61))
    assert all(
        equal(a, b) for a, b in zip(itertools.islice(source.iterate(), 5), map(source.at, range(5)), strict=True)
    )


def epoch_starts(source, epoch):
    """Starts of all windows of an epoch; the batch size must divide the epoch."""
    steps = source.windows_per_epoch // source.batch_size
    return np.concatenate([starts_of(source.at(step)) for step in range(epoch * steps, (epoch + 1) * steps)])


def test_an_epoch_covers_the_stream_once_at_an_offset_of_its_own():
    source = batches(batch_size=1)
    epochs = [epoch_starts(source, epoch) for epoch in range(12)]
    for starts in epochs:
        assert np.all(np.diff(np.sort(starts)) == 97)
        assert starts.min() < 2 * 97
        assert starts.max() + 97 <= 10_000
        assert not np.array_equal(starts, np.sort(starts))
    assert len({int(starts.min()) for starts in epochs}) > 6
    assert not np.array_equal(np.argsort(epochs[0]), np.argsort(epochs[1]))


def test_aligned_windows_are_whole_records_and_none_is_left_out():
    source = batches(stream=numbered(60 * 12, record_length=12), context=12, align=12, batch_size=60)
    assert source.windows_per_epoch == 60
    assert np.array_equal(np.sort(epoch_starts(source, 3)), np.arange(0, 720, 12))
    pairs = batches(stream=numbered(60 * 12, record_length=12), context=24, align=12, batch_size=1)
    starts = np.concatenate([epoch_starts(pairs, epoch) for epoch in range(20)])
    assert set(starts % 24) == {0, 12}


@pytest.mark.parametrize("length", [97, 98, 97 + 96, 2 * 97 - 1, 2 * 97, 3 * 97 - 2])
def test_streams_of_a_few_windows(length, stream):
    source = batches(stream=stream(length))
    firsts = {int(row[0]) for step in range(400) for row in source.at(step)["tokens"]}
    # Every place can begin a window, so every token is seen sooner or later.
    assert firsts == set(range(length - 97 + 1))


def test_contiguous_batches_yield_each_token_once_in_order(stream):
    source = ContiguousBatches(stream=stream(1003), context=19, batch_size=4)
    assert source.steps_per_epoch == 14
    steps = [source.at(step) for step in range(source.steps_per_epoch)]
    runs = [np.concatenate([batch["tokens"][row][batch["valid"][row]] for batch in steps]) for row in range(4)]
    assert [len(run) for run in runs] == [250, 251, 251, 251]
    assert np.array_equal(np.concatenate(runs), stream(1003).tokens)
    assert [bool(batch["restart"].all()) for batch in steps] == [True] + [False] * 13
    assert equal(source.at(14), source.at(0))


@pytest.mark.parametrize("processes", [2, 4])
def test_contiguous_batches_do_not_depend_on_the_processes(processes, stream):
    fields = dict(stream=stream(1003), context=19, batch_size=4)
    for step in (0, 5, 13, 20):
        parts = [
            ContiguousBatches(**fields, process_index=i, process_count=processes).at(step) for i in range(processes)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        assert equal(joined, ContiguousBatches(**fields).at(step))
