"""Spans taken out of windows: T5's numbers, what a source and a target hold, and that they are drawn as a function of the place."""

import numpy as np
import pytest

from efficient_attn.data import SpanCorruption, corrupted

pytestmark = pytest.mark.fast

SENTINEL, EOS = 99, 1


def test_the_published_lengths():
    t5 = SpanCorruption()
    assert t5.window(512) == 568
    assert t5.lengths(568) == (512, 114)
    assert t5.hidden(568) == (85, 28)


@pytest.mark.parametrize(("density", "mean_span"), [(0.15, 3.0), (0.15, 1.0), (0.5, 2.0), (0.25, 10.0), (0.9, 1.5)])
def test_a_window_is_the_longest_text_whose_source_fits(density, mean_span):
    corruption = SpanCorruption(density=density, mean_span=mean_span)
    for source in range(3, 80):
        window = corruption.window(source)
        assert corruption.lengths(window)[0] <= source < corruption.lengths(window + 1)[0]
    shorter = [corruption.lengths(tokens) for tokens in range(1, 200)]
    assert all((np.diff(side) >= 0).all() for side in np.array(shorter).T)


@pytest.mark.parametrize("tokens", [1, 2, 3, 7, 40, 568])
def test_as_many_tokens_in_as_many_spans_are_hidden_as_are_said(tokens):
    corruption = SpanCorruption()
    hidden, spans = corruption.hidden(tokens)
    told = corruption.draw(tokens, np.random.default_rng(0))
    assert (told.sum(), (np.diff(told.astype(int), prepend=0) == 1).sum()) == (hidden, spans)
    assert told[-1]
    assert not told[0] or tokens == 1


def test_all_divisions_are_as_probable():
    # Three hidden tokens in two spans, seven others before each: two divisions of one, six of the other.
    corruption = SpanCorruption(density=0.3, mean_span=1.5)
    rng = np.random.default_rng(0)
    draws = [tuple(corruption.draw(10, rng)) for _ in range(6000)]
    counts = np.unique(draws, axis=0, return_counts=True)[1]
    assert len(counts) == 12
    assert (abs(counts - 500) < 5 * np.sqrt(500)).all()


def batch(lengths, window):
    valid = np.arange(window) < np.array(lengths)[:, None]
    tokens = np.random.default_rng(0).integers(10, 60, valid.shape).astype(np.int32)
    return {"tokens": np.where(valid, tokens, 0), "valid": valid}


def restored(source, target):
    """The text of both sides: each sentinel of the source followed by what the target has after it."""
    pieces = np.split(target, np.flatnonzero(target > 60))[1:]
    after = {piece[0]: list(piece[1:]) for piece in pieces}
    return [token for x in source for token in after.get(x, [x])]


def test_sources_and_targets_together_are_the_text():
    lengths, window = (40, 7, 1, 0, 39), 40
    given = batch(lengths, window)
    made = corrupted(given, SpanCorruption(), SENTINEL, EOS, (3, 0), 5)
    assert (made["source"].shape[1], made["target"].shape[1]) == SpanCorruption().lengths(window)
    for row, length in enumerate(lengths):
        sides = [made[name][row][made[f"{name}_segments"][row] > 0] for name in ("source", "target")]
        if not length:
            assert not any(len(side) for side in sides)
            continue
        assert tuple(map(len, sides)) == SpanCorruption().lengths(length)
        assert all(side[-1] == EOS for side in sides)
        source, target = (side[:-1] for side in sides)
        spans = SpanCorruption().hidden(length)[1]
        for side in (source, target):
            np.testing.assert_array_equal(side[side > 60], SENTINEL - np.arange(spans))
        assert restored(source, target) == given["tokens"][row, :length].tolist()
        np.testing.assert_array_equal(made["target_positions"][row, : len(sides[1])], np.arange(len(sides[1])))
    # Whole windows fill their rows.
    assert made["source_segments"][0].all()
    assert made["target_segments"][0].all()


def test_what_is_drawn_is_a_function_of_seed_and_place():
    given = batch((60, 60, 60, 60), 60)
    whole = corrupted(given, SpanCorruption(), SENTINEL, EOS, (3, 0), 8)
    late = corrupted({k: x[2:] for k, x in given.items()}, SpanCorruption(), SENTINEL, EOS, (3, 0), 10)
    for name, x in late.items():
        np.testing.assert_array_equal(x, whole[name][2:])
    for other in (((3, 1), 8), ((4, 0), 8), ((3, 0), 9)):
        assert (corrupted(given, SpanCorruption(), SENTINEL, EOS, *other)["target"] != whole["target"]).any()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"density": 0.0}, "density must be above 0"), ({"mean_span": 0.5}, "mean_span must be a number of at least 1")],
)
def test_what_cannot_be_drawn_is_refused(fields, reason):
    with pytest.raises(ValueError, match=reason):
        SpanCorruption(**fields)
    with pytest.raises(ValueError, match="a source of 2 tokens has no room"):
        SpanCorruption().window(2)
