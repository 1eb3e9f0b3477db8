"""What patterns refuse, and what they say."""

import re

import numpy as np
import pytest

from efficient_attn import patterns as P
from efficient_attn.patterns.algebra import whole_number

pytestmark = pytest.mark.fast

CASES = {
    "negative window": (lambda: P.Window(-1), "Window.left must be at least 0, got -1"),
    "negative right": (lambda: P.Window(1, -2), "Window.right must be at least 0, got -2"),
    "boolean window": (lambda: P.Window(True), "Window.left must be a whole number of at least 0, got True"),
    "zero dilation": (lambda: P.Dilated(1, dilation=0), "Dilated.dilation must be at least 1, got 0"),
    "negative dilated window": (lambda: P.Dilated(-1), "Dilated.left must be at least 0, got -1"),
    "zero stride": (lambda: P.Strided(0), "Strided.stride must be at least 1, got 0"),
    "zero summary": (lambda: P.Fixed(4, 0), "Fixed.summary must be at least 1, got 0"),
    "summary past the stride": (lambda: P.Fixed(4, 5), "got group=0, summary=5, stride=4"),
    "group past the stride": (lambda: P.Fixed(8, 4, group=2), "got group=2, summary=4, stride=8"),
    "groups that do not divide": (
        lambda: P.fixed_heads(heads=8, stride=8, summary=1, groups=3),
        "groups must divide heads, got groups=3, heads=8",
    ),
    "zero chunk": (lambda: P.Chunk(0), "Chunk.size must be at least 1, got 0"),
    "negative prefix": (lambda: P.Prefix(-1), "Prefix.length must be at least 0, got -1"),
    "no global positions": (lambda: P.Global([]), "Global needs at least one position, got none"),
    "negative global without length": (lambda: P.Global([-1]), "needs length=, got -1 without it"),
    "global past the length": (lambda: P.Global([8], length=8), "a sequence of length 8, got 8"),
    "global before the start": (lambda: P.Global([-9], length=8), "a sequence of length 8, got -9"),
    "more random blocks than blocks": (
        lambda: P.BlockRandom(block=4, count=3, seed=0, length=8),
        "got count=3 of 2 blocks (length=8, block=4)",
    ),
    "negative seed": (lambda: P.BlockRandom(4, 1, -1, 8), "BlockRandom.seed must be at least 0, got -1"),
    "no heads": (lambda: P.PerHead([]), "PerHead needs at least one pattern, got an empty list"),
    "heads in heads": (lambda: P.PerHead([P.PerHead([P.Full()])]), "got a PerHead inside a PerHead"),
    "heads that differ in number": (
        lambda: P.PerHead([P.Full()]) & P.PerHead([P.Full()] * 2),
        "the same number of heads, got [1, 2]",
    ),
    "zero queries": (lambda: P.Causal().dense(0, 4), "q_len must be at least 1, got 0"),
    "zero block": (lambda: P.Causal().block_mask(4, 4, 0), "block must be at least 1, got 0"),
    "negative length": (lambda: P.Causal().block_mask(-4, 4), "q_len must be at least 1, got -4"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_values_are_refused_by_name(case):
    construct, reason = CASES[case]
    with pytest.raises(ValueError) as caught:
        construct()
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "combine",
    [
        pytest.param(lambda: P.Causal() and P.Full(), id="and"),
        pytest.param(lambda: P.Causal() or P.Full(), id="or"),
        pytest.param(lambda: not P.Causal(), id="not"),
        pytest.param(lambda: bool(P.PerHead([P.Full()])), id="bool"),
        pytest.param(lambda: 0 if P.Causal() else 1, id="if"),
    ],
)
def test_a_pattern_has_no_truth_value(combine):
    with pytest.raises(TypeError, match=r"combine patterns with & \| ~"):
        combine()


@pytest.mark.parametrize("other", [3, None, np.ones((2, 2), bool), "Causal()"])
def test_a_pattern_combines_with_patterns_only(other):
    with pytest.raises(TypeError):
        P.Causal() & other
    with pytest.raises(TypeError):
        P.Causal() | other


def test_a_pattern_without_allows_cannot_be_made():
    class Nothing(P.Pattern):
        pass

    with pytest.raises(TypeError, match="allows"):
        Nothing()


# Under test the annotations of a pattern refuse these before the pattern does, so its own check is asked directly.
@pytest.mark.parametrize("value", [1.5, "3", None, True, [1], np.float32(2)])
def test_only_whole_numbers_are_whole_numbers(value):
    with pytest.raises(ValueError, match=re.escape(f"left must be a whole number of at least 0, got {value!r}")):
        whole_number(value, "left", least=0)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_numpy_integers_are_whole_numbers(value):
    assert type(whole_number(value, "left", least=0)) is int
