"""Interval arithmetic against brute force: exact for the library's patterns, sound for what is built from them."""

import numpy as np
import pytest
from hypothesis import given, settings
from pattern_strategies import blocks, compositions, kinds_by_brute_force, leaves, lengths, random_checks, strips

from efficient_attn.patterns.block_mask import EMPTY, FULL, block_kinds

pytestmark = [pytest.mark.fast, random_checks]


def assert_exact(pattern, q_len, k_len, block):
    np.testing.assert_array_equal(
        block_kinds(pattern, q_len, k_len, block), kinds_by_brute_force(pattern, q_len, k_len, block)
    )


def assert_sound(pattern, q_len, k_len, block):
    claimed, true = block_kinds(pattern, q_len, k_len, block), kinds_by_brute_force(pattern, q_len, k_len, block)
    assert (true[claimed == EMPTY] == EMPTY).all(), "a block called empty holds an allowed pair"
    assert (true[claimed == FULL] == FULL).all(), "a block called full holds a pair that is not allowed"


@given(leaves, lengths, lengths, blocks)
@settings(max_examples=400, deadline=None)
def test_leaves_are_classified_exactly(pattern, q_len, k_len, block):
    assert_exact(pattern, q_len, k_len, block)


@given(leaves, lengths, lengths, blocks)
@settings(max_examples=100, deadline=None)
def test_complements_of_leaves_are_classified_exactly(pattern, q_len, k_len, block):
    assert_exact(~pattern, q_len, k_len, block)


@given(leaves, strips, lengths, lengths, blocks)
@settings(max_examples=400, deadline=None)
def test_a_leaf_cut_by_a_strip_is_classified_exactly(pattern, strip, q_len, k_len, block):
    assert_exact(strip & pattern, q_len, k_len, block)


@given(leaves, strips, strips, lengths, lengths, blocks)
@settings(max_examples=200, deadline=None)
def test_a_leaf_cut_by_two_strips_is_classified_exactly(pattern, first, second, q_len, k_len, block):
    assert_exact(first & pattern & second, q_len, k_len, block)


@given(compositions, lengths, lengths, blocks)
@settings(max_examples=300, deadline=None)
def test_compositions_are_classified_soundly(pattern, q_len, k_len, block):
    assert_sound(pattern, q_len, k_len, block)


@pytest.mark.fuzz
@given(leaves, strips, lengths, lengths, blocks)
@settings(max_examples=20_000, deadline=None)
def test_fuzz_exactness(pattern, strip, q_len, k_len, block):
    assert_exact(pattern, q_len, k_len, block)
    assert_exact(strip & pattern, q_len, k_len, block)


@pytest.mark.fuzz
@given(compositions, lengths, lengths, blocks)
@settings(max_examples=20_000, deadline=None)
def test_fuzz_soundness(pattern, q_len, k_len, block):
    assert_sound(pattern, q_len, k_len, block)
