"""The copying task: its records, its splits, and which half of it counts."""

import numpy as np
import pytest

from efficient_attn.data import Copying, EvaluationWindows, TokenStream, TrainingBatches, evaluation_batches

pytestmark = pytest.mark.fast

SOURCE = Copying(word=5, symbols=9, records=40, held_out=3)


def test_records_are_a_word_twice_behind_zeros():
    records = SOURCE.load("train").tokens.reshape(40, 2, 6)
    assert (records[:, 0] == records[:, 1]).all() and (records[:, :, 0] == 0).all()
    assert set(np.unique(records[:, :, 1:])) == set(range(1, 10))


def test_splits_differ_and_are_drawn_again_alike():
    validation, test = (SOURCE.load(split).tokens for split in ("validation", "test"))
    assert len(validation) == len(test) == 36 and (validation != test).any()
    np.testing.assert_array_equal(validation, SOURCE.load("validation").tokens)
    assert SOURCE.fingerprint() != Copying(word=5, symbols=9, records=40, held_out=3, seed=1).fingerprint()


def test_the_second_half_counts():
    stream = SOURCE.load("train")
    batch = TrainingBatches(stream=stream, context=12, batch_size=4, seed=0, align=12).at(0)
    np.testing.assert_array_equal(batch["valid"], np.tile(np.arange(12) >= 6, (4, 1)))
    batches = evaluation_batches(stream, EvaluationWindows(context=12, scored=12), 16)
    assert sum(int((b["scored"] & b["valid"]).sum()) for b in batches) == 40 * 6


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Copying(word=0), "word must be at least 1, got 0"),
        (lambda: Copying(symbols=256), "symbols must be at most 255"),
        (
            lambda: TokenStream(tokens=np.zeros(4, np.uint8), record_length=2, given=2, description=""),
            "given must leave something of a record of 2 tokens, got 2",
        ),
    ],
)
def test_bad_input(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()
