"""The slots of a decoding cache: as few as the pattern allows, and no key is overwritten that a later query may see."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.nn.cache import empty_cache, last_uses, slots
from efficient_attn.patterns.expression import parse

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("left", [0, 1, 6, 31])
@pytest.mark.parametrize("length", [64, 1000])
def test_a_window_needs_its_keys_whatever_the_length(left, length):
    assert slots(parse(f"Causal() & Window(left={left})"), length)[1] == left + 1


def test_a_window_longer_than_the_text_needs_the_text():
    assert slots(parse("Causal() & Window(left=99)"), 17)[1] == 17


@pytest.mark.parametrize("length", [1, 7, 256])
def test_dense_attention_needs_every_key(length):
    assert slots(parse("Causal()"), length)[1] == length


@pytest.mark.parametrize(("stride", "summary", "length"), [(16, 4, 256), (32, 8, 1024), (128, 32, 12288)])
def test_a_fixed_pattern_needs_its_run_and_the_summaries(stride, summary, length):
    capacity = slots(parse(f"Causal() & Fixed(stride={stride}, summary={summary})"), length)[1]
    expected = stride + summary * (length // stride)
    assert abs(capacity - expected) <= stride
    assert capacity < length


def test_a_long_window_is_laid_out_quickly_and_once():
    pattern = parse("Causal() & Window(left=255)")
    assert slots(pattern, 65_536) is slots(pattern, 65_536)


PATTERNS = [
    "Causal()",
    "Causal() & Window(left=0)",
    "Causal() & Window(left=5)",
    "Causal() & Strided(7)",
    "Causal() & (Window(left=3) | Strided(8))",
    "Causal() & Fixed(stride=8, summary=2)",
    "Causal() & fixed_heads(heads=4, stride=8, summary=2, groups=4)",
    "Causal() & Chunk(6)",
    "Causal() & (Window(left=2) | Global((0, 9)))",
    "Causal() & (Window(left=2) | Prefix(4))",
    "Causal() & Dilated(left=3, right=0, dilation=4)",
    "PerHead((Causal() & Window(left=1), Causal() & Strided(5)))",
    "Causal() & ~Window(left=3)",
    "Causal() & BlockRandom(4, 1, 0, length=40)",
]


@pytest.mark.parametrize("text", PATTERNS)
@pytest.mark.parametrize("length", [1, 13, 40])
def test_no_key_is_overwritten_while_a_later_query_may_see_it(text, length):
    pattern = parse(text)
    slot_of, capacity, run = slots(pattern, length)
    assert slot_of.shape == (length,)
    assert 0 <= slot_of.min() <= slot_of.max() < capacity
    assert capacity == slot_of.max() + 1 <= length if run is None else capacity % run == 0
    allowed = np.asarray(pattern.dense(length, length)).reshape(-1, length, length).any(0) & np.tri(length, dtype=bool)
    held = np.full(capacity, -1)
    for query in range(length):
        held[slot_of[query]] = query
        lost = np.setdiff1d(np.flatnonzero(allowed[query]), held)
        assert not lost.size, f"query {query} may see {lost}, which are gone"
        read = slot_of[np.flatnonzero(allowed[query])] // (run or capacity)
        assert np.all(read == slot_of[query] // (run or capacity)), f"query {query} may see keys outside its run"


@pytest.mark.parametrize(("length", "stride"), [(40, 8), (41, 8), (16_384, 128)])
def test_a_strided_query_reads_its_own_residue(length, stride):
    _, count, run = slots(parse(f"Causal() & Strided({stride})"), length)
    assert (count, run) == (-(-length // stride) * stride, -(-length // stride))
    # Residues are no use to a window beside them, nor to keys that are soon forgotten.
    assert slots(parse(f"Causal() & (Strided({stride}) | Window(left=3))"), length).run is None
    assert slots(parse("Causal() & Dilated(left=1, right=0, dilation=4)"), length).run is None


@pytest.mark.parametrize("text", PATTERNS)
def test_last_uses_are_never_before_the_last_query(text):
    pattern, length = parse(text), 40
    allowed = np.asarray(pattern.dense(length, length)).reshape(-1, length, length).any(0) & np.tri(length, dtype=bool)
    last = np.where(allowed.any(0), length - 1 - allowed[::-1].argmax(0), 0)
    assert (last_uses(pattern, length) >= np.maximum(last, np.arange(length) * allowed.any(0))).all()


def test_an_empty_cache_and_what_is_written():
    cache = empty_cache(5, 2, 3, (7, 11), jnp.bfloat16)
    chex.assert_shape([cache.key, cache.value, cache.positions], [(2, 5, 21), (2, 5, 33), (5,)])
    chex.assert_type([cache.key, cache.value, cache.positions], [jnp.bfloat16, jnp.bfloat16, jnp.int32])
    assert (cache.positions == -1).all()
    after = cache.write(jnp.asarray(3), jnp.asarray(19), jnp.ones((2, 1, 3, 7)), 2 * jnp.ones((2, 1, 3, 11)))
    chex.assert_trees_all_equal_shapes_and_dtypes(cache, after)
    np.testing.assert_array_equal(after.positions, [-1, -1, -1, 19, -1])
    np.testing.assert_array_equal(after.key.astype(jnp.float32).sum((0, 2)), [0, 0, 0, 42, 0])
    np.testing.assert_array_equal(after.value.astype(jnp.float32).sum((0, 2)), [0, 0, 0, 132, 0])
