"""Drawn patterns, shapes and options: the implementations agree with the oracle."""

import jax
import numpy as np
import pytest
from conformance_cases import ORACLE, TESTED, answers, assert_close, draw, inputs, taking
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from pattern_strategies import compositions, random_checks

from efficient_attn import RelativeBias
from efficient_attn import patterns as P

KEY_HEADS, GROUPS = 2, 2
HEADS = KEY_HEADS * GROUPS
# Ragged, and around one and two blocks of 128; few, so that programs of the oracle are reused where patterns repeat.
lengths = st.sampled_from([1, 5, 31, 127, 129, 131, 199, 263])


OPTIONS = ["mask", "segments", "positions", "bias", "relative bias", "cap", "dropout"]


@st.composite
def cases(draw_, implementation):
    """Pattern, differentiable inputs, other arrays and static options, of those that ``implementation`` takes."""
    length = draw_(lengths)
    pattern = draw_(compositions)
    if draw_(st.booleans()):
        # Two patterns over four heads: heads of one pattern are gathered and put back.
        pattern = P.PerHead([pattern, draw_(compositions), pattern, pattern])
    different = inputs(length, heads=HEADS, key_heads=KEY_HEADS)
    taken = [option for option in OPTIONS if implementation in taking(option)]
    options = draw_(st.sets(st.sampled_from(taken), max_size=2))
    arrays, static = {}, {}
    rng = np.random.default_rng(draw_(st.integers(0, 99)))
    if "mask" in options:
        arrays["key_mask"] = rng.random((2, length)) < 0.7
    if "segments" in options:
        arrays["segment_ids"] = np.sort(rng.integers(0, 3, (2, length)), axis=1)
    if "positions" in options:
        shape = draw_(st.sampled_from([(length,), (2, length), (2, HEADS, length)]))
        arrays["query_positions"] = rng.integers(0, length, shape)
        arrays["key_positions"] = rng.permutation(length)
    if "bias" in options:
        different["bias"] = draw(7, 1, HEADS, 1, length)
    if "relative bias" in options:
        different["bias"] = RelativeBias(draw(8, HEADS, 17), first=-5)
    if "cap" in options:
        static["logits_soft_cap"] = 3.0
    if "dropout" in options:
        arrays["dropout_key"], static["dropout_rate"] = jax.random.key(1), 0.3
    return pattern, different, arrays, static


def assert_agrees(implementation, case):
    pattern, differentiable, arrays, static = case
    got, expected = (answers(name, pattern, differentiable, arrays, **static) for name in (implementation, ORACLE))
    assert_close(got, expected)


# Compiling is most of the time, and an interpreted kernel takes longest.
FEW = {"xla": 60, "pallas_tpu": 3, "pallas_gpu": 3}


# The many are drawn in slices, each from a seed of its own, so that they run beside each other and one can be run again.
SLICES, EACH = 25, 40


def run(implementation, examples, draw_from=lambda test: test, **how):
    """Draws ``examples`` cases and compares them with the oracle."""
    quiet = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), **how)
    draw_from(quiet(given(case=cases(implementation))(lambda case: assert_agrees(implementation, case))))()


@random_checks
@pytest.mark.parametrize("implementation", TESTED)
def test_drawn_problems_agree_with_the_oracle(implementation):
    run(implementation, FEW[implementation], derandomize=True)


@random_checks
@pytest.mark.fuzz
@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("implementation", TESTED)
def test_a_thousand_drawn_problems_agree_with_the_oracle(implementation, part, request):
    number = SLICES * request.config.getoption("--fuzz-seed") + part
    run(implementation, EACH, seed(number), database=None)
