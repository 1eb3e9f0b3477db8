"""Tokens taken away: how many, what stands for them, and what the draw depends on."""

import numpy as np
import pytest

from efficient_attn.data import Masking, masked

pytestmark = pytest.mark.fast

ROWS, LENGTH = 40, 500
TOKENS = np.random.default_rng(0).integers(0, 50, (ROWS, LENGTH)).astype(np.int32)
BATCH = {"tokens": TOKENS, "valid": np.arange(LENGTH) < np.full((ROWS, 1), 450)}
MASKING = Masking(token=50)


def test_rates_are_those_of_the_masking():
    found = masked(BATCH, MASKING, (3,), 0)
    told, shown = found["told"], found["inputs"]
    assert not told[:, 450:].any()
    np.testing.assert_array_equal(shown[~told], TOKENS[~told])
    assert told[:, :450].mean() == pytest.approx(0.15, abs=0.01)
    assert (shown[told] == 50).mean() == pytest.approx(0.8, abs=0.02)
    # A fiftieth of those that are changed change into themselves.
    others = (shown[told] != 50) & (shown[told] != TOKENS[told])
    assert others.mean() == pytest.approx(0.1 * 49 / 50, abs=0.02)
    assert len(np.unique(shown[told])) == 51
    np.testing.assert_array_equal(found["tokens"], TOKENS)


def test_a_row_depends_on_its_place_and_the_seed_alone():
    whole = masked(BATCH, MASKING, (3,), 7)
    half = {name: x[20:] for name, x in BATCH.items()}
    for name, x in masked(half, MASKING, (3,), 27).items():
        np.testing.assert_array_equal(x, whole[name][20:])
    for other in (masked(BATCH, MASKING, (4,), 7), masked(BATCH, MASKING, (3,), 6)):
        assert (other["told"] != whole["told"]).mean() > 0.1


def test_every_row_with_a_token_has_one_to_tell():
    valid = np.zeros((ROWS, LENGTH), bool)
    valid[1:, 5] = True
    told = masked({"tokens": TOKENS, "valid": valid}, MASKING, (0,), 0)["told"]
    np.testing.assert_array_equal(told, valid)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rate": 0.0}, "rate must be above 0"),
        ({"hidden": 0.8, "changed": 0.3}, "at most 1 together"),
        ({"token": 0}, "token must be"),
    ],
)
def test_what_is_no_probability_is_refused(changes, reason):
    with pytest.raises(ValueError, match=reason):
        Masking(**changes)
