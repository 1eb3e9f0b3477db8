"""What each pattern means: golden sets, the algebra as sets, jax against numpy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from pattern_strategies import compositions, leaves, lengths, random_checks

from efficient_attn import patterns as P

pytestmark = [pytest.mark.fast, random_checks]


def keys_of(pattern, query, length=12):
    return set(np.flatnonzero(pattern.dense(length, length)[query]).tolist())


# The sets that the two definitions of the Sparse Transformer, its paper and its code, give for l = 4, i = 6, c = 1.
@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param(P.Window(left=3), {3, 4, 5, 6}, id="local as in the code"),
        pytest.param(P.Window(left=4), {2, 3, 4, 5, 6}, id="local as in the paper"),
        pytest.param(P.Causal() & P.Strided(4), {2, 6}, id="strided"),
        pytest.param(P.Causal() & P.Chunk(4), {4, 5, 6}, id="fixed A1"),
        pytest.param(P.Causal() & P.Fixed(4, 1) & ~P.Chunk(4), {3}, id="fixed A2"),
        pytest.param(P.Causal() & P.Fixed(4, 1), {3, 4, 5, 6}, id="fixed, merged"),
        pytest.param(P.Causal() & P.Fixed(4, 1, group=1), {2, 4, 5, 6}, id="fixed, merged, second group"),
        pytest.param(P.NearChunks(4, left=1), set(range(8)), id="own chunk and the one before"),
        pytest.param(P.NearChunks(4, left=0, right=1), set(range(4, 12)), id="own chunk and the one after"),
        pytest.param(P.NearChunks(3, left=0, right=2, ring=4), {0, 1, 2, 6, 7, 8, 9, 10, 11}, id="around the ring"),
        pytest.param(P.Dilated(left=2, right=1, dilation=3), {0, 3, 6, 9}, id="dilated"),
        pytest.param(P.Prefix(2) | P.Window(0), {0, 1, 6}, id="prefix"),
        pytest.param(P.Full(), set(range(12)), id="full"),
    ],
)
def test_keys_of_one_query(pattern, expected):
    assert keys_of(pattern, 6) == expected


def test_longformer_keys():
    pattern = P.Window(2, 2) | P.Global([0])
    assert keys_of(pattern, 5, 8) == {0, 3, 4, 5, 6, 7}
    assert keys_of(pattern, 1, 8) == {0, 1, 2, 3}
    assert keys_of(pattern, 0, 8) == set(range(8))


def test_global_takes_rows_columns_or_both_and_counts_from_the_end():
    assert keys_of(P.Global(queries=[3]), 3) == set(range(12))
    assert keys_of(P.Global(queries=[3]), 4) == set()
    assert keys_of(P.Global(keys=[3]), 4) == {3}
    assert P.Global([-1, 0], length=12) == P.Global([0, 11])


def test_random_blocks_are_distinct_whole_and_the_same_on_every_machine():
    pattern = P.BlockRandom(block=4, count=2, seed=7, length=32)
    dense = pattern.dense(32, 32)
    assert (dense.sum(axis=1) == 8).all()
    np.testing.assert_array_equal(dense[::4], dense[3::4])
    golden = [[3, 4], [5, 7], [1, 6], [3, 6], [2, 4], [1, 4], [1, 4], [0, 5]]
    assert pattern.table().tolist() == golden


def test_many_random_blocks_are_distinct():
    table = P.BlockRandom(block=1, count=3, seed=1, length=4096).table()
    assert (np.diff(table, axis=1) > 0).all()


def test_fixed_heads_take_descending_groups():
    # Released code: sub-blocks of the stride in descending order, in groups of v; head h takes group h mod m.
    pattern = P.fixed_heads(heads=8, stride=128, summary=32, groups=4)
    assert [p.columns for p in pattern.patterns] == [(96, 128), (64, 96), (32, 64), (0, 32)] * 2


def test_fixed_heads_at_the_size_of_enwik8():
    mask = (P.Causal() & P.fixed_heads(heads=8, stride=128, summary=32, groups=4)).block_mask(12_288, 12_288, 32)
    for plan in mask.plans:
        assert int(plan.by_query.counts.sum()) == 19_200
    causal = P.Causal().block_mask(12_288, 12_288, 32).active_blocks
    assert causal == 73_920
    assert round(19_200 / causal, 2) == 0.26


def test_fixed_heads_against_the_released_block_rule():
    length, block, stride, vertical, verticals = 512, 32, 128, 1, 4
    per_stride = stride // block
    descending = list(range(per_stride))[::-1]
    groups = [descending[g * vertical : (g + 1) * vertical] for g in range(verticals)]
    dense = (P.Causal() & P.fixed_heads(heads=8, stride=stride, summary=32, groups=4)).dense(length, length)
    for head, i, j in itertools.product(range(8), range(0, length, 17), range(0, length, 13)):
        bq, bk = i // block, j // block
        same = bq // per_stride == bk // per_stride
        assert dense[head, i, j] == (j <= i and (same or bk % per_stride in groups[head % verticals]))


@given(compositions, compositions, lengths, lengths)
@settings(max_examples=100, deadline=None)
def test_operators_are_set_operations(a, b, q_len, k_len):
    left, right = a.dense(q_len, k_len), b.dense(q_len, k_len)
    np.testing.assert_array_equal((a & b).dense(q_len, k_len), left & right)
    np.testing.assert_array_equal((a | b).dense(q_len, k_len), left | right)
    np.testing.assert_array_equal((~a).dense(q_len, k_len), ~left)


def test_operators_on_heads_work_head_by_head():
    heads, causal = P.PerHead([P.Window(1), P.Strided(3)]), P.Causal()
    assert heads & causal == P.PerHead([P.Window(1) & causal, P.Strided(3) & causal])
    assert causal | heads == P.PerHead([causal | P.Window(1), causal | P.Strided(3)])
    assert ~heads == P.PerHead([~P.Window(1), ~P.Strided(3)])
    assert heads & heads == P.PerHead([P.Window(1) & P.Window(1), P.Strided(3) & P.Strided(3)])
    assert heads.dense(5, 7).shape == (2, 5, 7)
    assert heads.allows(np.arange(5)[:, None], np.arange(7)).shape == (2, 5, 7)


@given(leaves, lengths, lengths)
@settings(max_examples=30, deadline=None)
def test_traced_positions_give_what_numpy_gives(pattern, q_len, k_len):
    i, j = jnp.arange(q_len)[:, None], jnp.arange(k_len)
    traced = jax.jit(lambda i, j: jnp.broadcast_to(pattern.allows(i, j), (q_len, k_len)))(i, j)
    np.testing.assert_array_equal(np.asarray(traced), pattern.dense(q_len, k_len))


def test_traced_positions_of_heads():
    pattern = P.PerHead([P.Causal(), P.Global([0]), P.BlockRandom(4, 1, 0, 16)])
    i, j = jnp.arange(13)[:, None], jnp.arange(11)
    np.testing.assert_array_equal(np.asarray(jax.jit(pattern.allows)(i, j)), pattern.dense(13, 11))


@given(leaves, lengths, lengths)
@settings(max_examples=30, deadline=None)
def test_traced_boxes_are_classified_soundly(pattern, q_len, k_len):
    def bounds(q_lo, q_hi, k_lo, k_hi):
        return pattern.bounds(P.Box.of(q_lo, q_hi, k_lo, k_hi))

    may, must = jax.jit(bounds)(*(jnp.asarray([x]) for x in (q_len // 2, q_len - 1, k_len // 3, k_len - 1)))
    dense = pattern.dense(q_len, k_len)[q_len // 2 :, k_len // 3 :]
    assert bool(may[0]) or not dense.any()
    assert not bool(must[0]) or dense.all()


def test_patterns_are_values():
    a = P.Causal() & (P.Window(3) | P.Global([1, 0]))
    b = P.Causal() & (P.Window(left=3, right=0) | P.Global([0, 1, 1]))
    assert a == b
    assert hash(a) == hash(b)
    assert a != P.Causal() & (P.Window(4) | P.Global([0, 1]))
    assert len({P.Strided(2), P.Strided(2), P.Strided(3), P.Chunk(2)}) == 3


def test_operators_flatten():
    a, b, c = P.Causal(), P.Window(1), P.Chunk(2)
    assert (a & b) & c == a & (b & c) == P.And((a, b, c))
    assert (a | b) | c == a | (b | c) == P.Or((a, b, c))
