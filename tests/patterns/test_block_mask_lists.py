"""The lists of a BlockMask against brute force, by query and by key, and its counts."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_strategies import blocks, compositions, kinds_by_brute_force, leaves, lengths, random_checks, strips

from efficient_attn import patterns as P
from efficient_attn.patterns.block_mask import EMPTY, FULL, PARTIAL, expand

pytestmark = [pytest.mark.fast, random_checks]


def unpack(runs, lines, along):
    """The grid of kinds that run lists describe."""
    grid = np.full((lines, along), EMPTY, np.uint8)
    line, position, full = expand(runs)
    assert (grid[line, position] == EMPTY).all()
    grid[line, position] = np.where(full, FULL, PARTIAL)
    assert len(line) == len({*zip(line.tolist(), position.tolist(), strict=True)}), "a block is listed twice"
    return grid


@given(leaves, strips, lengths, lengths, blocks)
@settings(max_examples=200, deadline=None)
def test_lists_by_query_and_by_key_hold_the_same_blocks(pattern, strip, q_len, k_len, block):
    pattern = strip & pattern
    (plan,) = pattern.block_mask(q_len, k_len, block).plans
    kinds = kinds_by_brute_force(pattern, q_len, k_len, block)
    np.testing.assert_array_equal(unpack(plan.by_query, *kinds.shape), kinds)
    np.testing.assert_array_equal(unpack(plan.by_key, *kinds.T.shape), kinds.T)


@given(compositions, lengths, lengths, blocks)
@settings(max_examples=100, deadline=None)
def test_neighbouring_blocks_of_one_kind_form_one_run(pattern, q_len, k_len, block):
    (plan,) = pattern.block_mask(q_len, k_len, block).plans
    for runs in (plan.by_query, plan.by_key):
        assert (runs.counts > 0).all()
        for line in range(len(runs.pointers) - 1):
            own = slice(runs.pointers[line], runs.pointers[line + 1])
            starts, ends, full = runs.starts[own], runs.starts[own] + runs.counts[own], runs.full[own]
            assert (starts[1:] >= ends[:-1]).all(), "runs must ascend without overlap"
            assert (full[1:] != full[:-1])[starts[1:] == ends[:-1]].all(), "two runs of one kind touch"


@given(leaves, strips, lengths, lengths, blocks)
@settings(max_examples=200, deadline=None)
def test_counts(pattern, strip, q_len, k_len, block):
    pattern = strip & pattern
    mask, kinds = pattern.block_mask(q_len, k_len, block), kinds_by_brute_force(pattern, q_len, k_len, block)
    assert mask.total_blocks == kinds.size
    assert mask.full_blocks == (kinds == FULL).sum()
    assert mask.partial_blocks == (kinds == PARTIAL).sum()
    assert mask.active_blocks == mask.full_blocks + mask.partial_blocks
    assert mask.live_fraction == mask.active_blocks / kinds.size
    live = (kinds != EMPTY).repeat(block, axis=0).repeat(block, axis=1)[:q_len, :k_len].sum()
    np.testing.assert_allclose(mask.useful_fraction, pattern.dense(q_len, k_len).sum() / live if live else 0.0)


@given(st.lists(st.one_of(leaves, st.builds(P.Causal)), min_size=1, max_size=5), lengths, blocks)
@settings(max_examples=100, deadline=None)
def test_heads_share_the_plan_of_equal_patterns(patterns, length, block):
    pattern = P.PerHead(patterns)
    mask = pattern.block_mask(length, length, block)
    assert mask.pattern == pattern
    assert len(mask.plans) == len(set(patterns))
    assert mask.active_blocks == sum(p.block_mask(length, length, block).active_blocks for p in patterns)
    assert mask.total_blocks == len(patterns) * (-(-length // block)) ** 2
    for head, plan in enumerate(mask.heads):
        assert mask.plans[plan].pattern == patterns[head]


def test_useful_fraction_of_heads_is_weighted_by_their_blocks():
    causal, window = P.Causal(), P.Window(0)
    mask = P.PerHead([causal, window, causal]).block_mask(64, 64, 16)
    pairs = 2 * 64 * 65 // 2 + 64
    area = (2 * 10 + 4) * 16 * 16
    assert mask.useful_fraction == pytest.approx(pairs / area)


def test_a_large_useful_fraction_is_sampled_and_close():
    length = 16_384
    mask = (P.Causal() & P.Strided(16)).block_mask(length, length, 64)
    rows = np.arange(length)
    pairs = (rows // 16 + 1).sum()
    assert mask.useful_fraction == pytest.approx(pairs / (mask.active_blocks * 64 * 64), rel=0.02)


def test_equal_questions_share_one_answer():
    assert P.Causal().block_mask(65, 65, 16) is P.Causal().block_mask(65, 65, 16)


def test_a_mask_is_a_pytree_of_its_lists():
    mask = (P.Causal() & P.Window(7)).block_mask(65, 65, 16)
    leaves_of_mask, structure = jax.tree.flatten(mask)
    assert len(leaves_of_mask) == 8
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves_of_mask)
    assert jax.tree.unflatten(structure, leaves_of_mask).pattern == mask.pattern
    counts = jax.jit(lambda m: m.plans[0].by_query.counts.sum())(mask)
    assert int(counts) == mask.active_blocks


def test_masks_with_lists_of_equal_shape_can_be_scanned_over():
    masks = [P.Window(left).block_mask(64, 64, 16) for left in (1, 2, 3)]
    lists = [jax.tree.leaves(mask) for mask in masks]
    stacked = [np.stack(parts) for parts in zip(*lists, strict=True)]
    _, totals = jax.lax.scan(lambda carry, parts: (carry, parts[2].sum()), 0, stacked)
    assert totals.tolist() == [mask.active_blocks for mask in masks]


def test_summary_says_what_is_live():
    text = P.Causal().block_mask(256, 256, 64).summary()
    assert text.splitlines() == [
        "256 queries x 256 keys, blocks of 64",
        "10 of 16 blocks live (62.50%): 6 full, 4 partial; 80.3% of the work in them useful; "
        f"{P.Causal().block_mask(256, 256, 64).nbytes:,} bytes",
    ]
