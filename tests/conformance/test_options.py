"""Every option of ``attend`` means the same in every implementation: bias, soft cap, segments, dropout."""

import jax
import numpy as np
import pytest
from conformance_cases import (
    ALL,
    BATCH,
    HEADS,
    LENGTH,
    ORACLE,
    PATTERNS,
    TESTED,
    answers,
    assert_close,
    draw,
    inputs,
    taking,
)

from efficient_attn import RelativeBias, attend
from efficient_attn import patterns as P

each_implementation = pytest.mark.parametrize("implementation", TESTED)


def assert_oracles(implementation, pattern, differentiable, arrays=None, **static):
    got, expected = (answers(name, pattern, differentiable, arrays, **static) for name in (implementation, ORACLE))
    assert_close(got, expected)


@each_implementation
@pytest.mark.parametrize("pattern", ["strided", "per head"])
@pytest.mark.parametrize(
    "shape",
    [
        (BATCH, HEADS, LENGTH, LENGTH),
        (1, HEADS, 1, LENGTH),
        (BATCH, 1, LENGTH, 1),
        (1, 1, LENGTH, LENGTH),
        (BATCH, 1, 1, LENGTH),
    ],
    ids=str,
)
def test_bias_of_pairs(implementation, pattern, shape):
    assert_oracles(implementation, PATTERNS[pattern], inputs() | {"bias": draw(7, *shape)})


@pytest.mark.parametrize("implementation", taking("relative bias", TESTED))
@pytest.mark.parametrize("pattern", ["window", "per head"])
@pytest.mark.parametrize("shape", [(HEADS,), (BATCH, HEADS, LENGTH), (1, HEADS, LENGTH)], ids=str)
def test_bias_of_offsets(implementation, pattern, shape):
    bias = RelativeBias(draw(8, *shape, 43), first=-11)
    assert_oracles(implementation, PATTERNS[pattern], inputs() | {"bias": bias})


@pytest.mark.parametrize("implementation", taking("relative bias"))
def test_a_relative_bias_is_its_expansion(implementation):
    table, first = draw(8, HEADS, 43), -11
    i, j = np.arange(LENGTH)[:, None], np.arange(LENGTH)[None]
    pairs = table[:, np.clip(i - j - first, 0, 42)][None]
    relative, expanded = (
        answers(implementation, P.Causal(), inputs(), {"bias": bias}) for bias in (RelativeBias(table, first), pairs)
    )
    assert_close(relative, expanded)


@each_implementation
@pytest.mark.parametrize("key_heads", [2, 3])
def test_biases_of_grouped_heads(implementation, key_heads):
    given = inputs(heads=6, key_heads=key_heads)
    near, far = P.Causal() & P.Window(left=20), P.Strided(5)
    biases = [draw(9, 1, 6, 1, LENGTH)]
    if implementation in taking("relative bias"):
        biases.append(RelativeBias(draw(9, 6, 43)))
    for pattern in (near, P.PerHead([near, far, near, far, far, far])):
        for bias in biases:
            assert_oracles(implementation, pattern, given | {"bias": bias})


@each_implementation
@pytest.mark.parametrize("cap", [0.5, 30.0])
def test_soft_cap(implementation, cap):
    given = inputs() | {"bias": draw(7, 1, HEADS, 1, LENGTH)}
    assert_oracles(implementation, PATTERNS["causal window"], given, logits_soft_cap=cap)


@each_implementation
@pytest.mark.parametrize("scale", [0.0, 1.0, -0.7])
def test_scale(implementation, scale):
    assert_oracles(implementation, PATTERNS["causal window"], inputs(), scale=scale)


@each_implementation
@pytest.mark.parametrize("pattern", ["causal window", "global", "per head"])
def test_segments(implementation, pattern):
    # Not in order, so that blocks cannot be skipped by order alone.
    ids = np.random.default_rng(1).integers(0, 3, (BATCH, LENGTH))
    assert_oracles(implementation, PATTERNS[pattern], inputs(), {"segment_ids": ids})
    packed = np.sort(ids, axis=1)
    assert_oracles(implementation, PATTERNS[pattern], inputs(), {"segment_ids": (packed, ids)})


@each_implementation
@pytest.mark.parametrize("pattern", ["causal", "dilated", "per head"])
def test_dropout_drops_the_same_weights(implementation, pattern):
    arrays = {"dropout_key": jax.random.key(3)}
    assert_oracles(implementation, PATTERNS[pattern], inputs(), arrays, dropout_rate=0.3)


@pytest.mark.parametrize("implementation", taking("positions", taking("relative bias", TESTED)))
def test_all_options_together(implementation):
    arrays = {
        "dropout_key": jax.random.key(3),
        "key_mask": draw(6, BATCH, LENGTH) > -1,
        "segment_ids": np.sort(np.random.default_rng(1).integers(0, 2, (BATCH, LENGTH)), axis=1),
        "query_positions": np.arange(LENGTH) + 3,
        "key_positions": np.arange(LENGTH)[::-1].copy(),
    }
    given = inputs(heads=6, key_heads=2) | {"bias": RelativeBias(draw(9, 6, 43), first=-7)}
    static = {"dropout_rate": 0.3, "logits_soft_cap": 5.0, "scale": 0.4}
    assert_oracles(implementation, PATTERNS["window"], given, arrays, **static)


@each_implementation
def test_the_options_of_slots_together(implementation):
    arrays = {
        "dropout_key": jax.random.key(3),
        "key_mask": draw(6, BATCH, LENGTH) > -1,
        "segment_ids": np.sort(np.random.default_rng(1).integers(0, 2, (BATCH, LENGTH)), axis=1),
    }
    given = inputs(heads=6, key_heads=2) | {"bias": draw(9, 1, 6, LENGTH, LENGTH)}
    static = {"dropout_rate": 0.3, "logits_soft_cap": 5.0, "scale": 0.4}
    assert_oracles(implementation, PATTERNS["window"], given, arrays, **static)


def dropped_weights(implementation, seed, rate=0.3):
    """The attention weights of full attention after dropout, ``[B, T, N, S]``."""
    given = inputs()
    eye = np.broadcast_to(np.eye(LENGTH, dtype=np.float32)[None, :, None], (BATCH, LENGTH, HEADS, LENGTH))
    key = jax.random.key(seed)
    return np.asarray(
        attend(
            given["query"],
            given["key"],
            eye,
            P.Full(),
            dropout_rate=rate,
            dropout_key=key,
            implementation=implementation,
        )
    )


@pytest.mark.parametrize("implementation", ALL)
def test_dropout_rate_and_expectation(implementation):
    weights = dropped_weights(implementation, 0)
    # About 103,000 independent weights: five standard deviations of the rate are 0.007.
    assert abs((weights == 0).mean() - 0.3) < 0.007
    assert abs(weights.sum(-1).mean() - 1.0) < 0.02
    for axes in ((1, 2, 3), (0, 1, 3)):
        assert np.abs((weights == 0).mean(axes) - 0.3).max() < 0.02
    # Neither rows, heads nor batch rows share their bits.
    bits = weights != 0
    for a, b in ((bits[0], bits[1]), (bits[:, 1:], bits[:, :-1]), (bits[:, :, 0], bits[:, :, 1])):
        assert abs((a == b).mean() - (0.3**2 + 0.7**2)) < 0.02


@pytest.mark.parametrize("implementation", ALL)
def test_dropout_is_a_function_of_its_key(implementation):
    first = dropped_weights(implementation, 0)
    np.testing.assert_array_equal(first, dropped_weights(implementation, 0))
    assert (first != dropped_weights(implementation, 1)).any()
