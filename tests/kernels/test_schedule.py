"""A schedule's slabs visit every pair that may attend once, and no key of any row twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from pattern_strategies import blocks, compositions, lengths, random_checks

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.kernels.arguments import Arguments, check, problem_of, settings_of
from efficient_attn.kernels.schedule import Schedule, dynamic_schedule, schedule_of_runs, static_schedule
from efficient_attn.patterns.block_mask import build_block_mask

PATTERNS = [
    P.Full(),
    P.Causal(),
    P.Causal() & P.Window(left=127),
    P.Causal() & P.Window(left=1023),
    P.Causal() & (P.Window(left=16) | P.Strided(97)),
    P.Window(9, 9) | P.Global([0, 700]),
    P.Chunk(300),
    P.BlockRandom(64, 2, 7, 1301),
    P.Strided(7) & ~P.Strided(7),
]


def visits(schedule: Schedule, q_len: int, k_len: int) -> np.ndarray:
    """How often each query visits each key, by walking the schedule as the kernel does: ``[q_len, k_len]``."""
    begin, end, start, low = (np.asarray(getattr(schedule, name)) for name in ("begin", "end", "start", "low"))
    assert len(begin) * schedule.height >= q_len
    count = np.zeros((len(begin), k_len), int)
    for row in range(len(begin)):
        for slab in range(begin[row], end[row]):
            slots = start[slab] + np.arange(schedule.width)
            assert slots[0] >= 0 and slots[-1] < k_len, "a slab reaches outside the keys"
            count[row, slots[slots >= low[slab]]] += 1
    return np.repeat(count, schedule.height, axis=0)[:q_len]


def assert_once(schedule: Schedule, dense: np.ndarray):
    count = visits(schedule, *dense.shape)
    assert count.max(initial=0) <= 1, "a key is visited twice"
    assert (count[dense] == 1).all(), "a pair that may attend is not visited"
    if schedule.single:
        assert (np.asarray(schedule.end) - np.asarray(schedule.begin) == 1).all()


def dynamic(pattern: P.Pattern, q_len: int, k_len: int) -> Schedule:
    query, key = (jnp.zeros((1, n, 1, 1)) for n in (q_len, k_len))
    positions = (np.arange(n) for n in (q_len, k_len))
    arguments = check(Arguments(query, key, key, pattern, *positions, None, None, None, None, None, 0.0, None))
    return dynamic_schedule(settings_of(arguments), problem_of(arguments))


@pytest.mark.parametrize("length", [1, 7, 128, 131, 1301])
@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_static_and_dynamic_schedules_visit_every_pair_once(pattern, length):
    dense = pattern.dense(length, length)
    assert_once(static_schedule(pattern, length, length), dense)
    assert_once(dynamic(pattern, length, length), dense)


@random_checks
@settings(max_examples=200, deadline=None)
@given(compositions, lengths, lengths, blocks)
def test_slabs_of_drawn_patterns_visit_every_pair_once(pattern, q_len, k_len, block):
    runs = build_block_mask(pattern, q_len, k_len, block).plans[0].by_query
    assert_once(schedule_of_runs(runs, k_len, block), pattern.dense(q_len, k_len))


@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_a_dynamic_schedule_visits_live_blocks_alone(pattern):
    visited = visits(dynamic(pattern, 1301, 1301), 1301, 1301)[::128, ::128] > 0
    dense = np.pad(pattern.dense(1301, 1301), (0, -1301 % 128)).reshape(11, 128, 11, 128).any((1, 3))
    assert not (dense & ~visited).any()
    # Interval tests may take a block of strides or of random blocks for live that is not; the others are exact.
    if not any(name in repr(pattern) for name in ("Strided", "BlockRandom")):
        np.testing.assert_array_equal(visited, dense)


def test_default_positions_given_as_an_array_change_nothing():
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(1, 389, 2, 5)).astype(np.float32) for _ in range(3))
    positions = np.arange(389)
    for pattern in PATTERNS:
        static = attend(query, key, value, pattern)
        moved = jax.jit(
            lambda p, pattern=pattern: attend(query, key, value, pattern, query_positions=p, key_positions=p)
        )
        np.testing.assert_allclose(moved(positions), static, rtol=1e-4, atol=1e-5)


def test_a_window_is_one_slab_a_row():
    assert static_schedule(P.Causal() & P.Window(left=127), 1024, 1024).single
    # What is visited grows with the window, not with the length.
    for length in (1024, 8192):
        schedule = static_schedule(P.Causal() & P.Window(left=127), length, length)
        assert len(schedule.start) * schedule.width <= 2 * length
