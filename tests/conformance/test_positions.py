"""Positions given as arrays: decoding, token orders, and parts that merge to the whole."""

import functools

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
    answers_of,
    assert_close,
    inputs,
    taking,
)

from efficient_attn import attend, merge
from efficient_attn import patterns as P

each_implementation = pytest.mark.parametrize("implementation", taking("positions"))
each_pattern = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
GRADIENTS = tuple(f"gradient of {name}" for name in ("query", "key", "value"))


@pytest.mark.parametrize("implementation", taking("positions", TESTED))
@each_pattern
def test_a_decoded_row_is_that_row_of_the_whole(implementation, pattern):
    given = inputs()
    whole = attend(**given, pattern=pattern, implementation=implementation)
    for t in (23, 130):
        one = given | {"query": given["query"][:, t : t + 1]}
        row = attend(**one, pattern=pattern, implementation=implementation, query_positions=np.array([t]))
        np.testing.assert_allclose(row, whole[:, t : t + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", taking("positions", TESTED))
@each_pattern
def test_the_order_of_slots_means_nothing(implementation, pattern):
    queries, keys = (np.random.default_rng(seed).permutation(LENGTH) for seed in (1, 2))
    given = inputs()
    arrays = {"query_positions": queries, "key_positions": keys}

    def in_order(differentiable, arrays):
        # Shuffled inside, so that cotangents and gradients are in the order of positions.
        moved = {name: x[:, queries if name == "query" else keys] for name, x in differentiable.items()}
        output, lse = attend(**moved, **arrays, pattern=pattern, return_lse=True, implementation=implementation)
        back = np.argsort(queries)
        return output[:, back], lse[:, back]

    assert_close(answers_of(in_order, given, arrays), answers(implementation, pattern, given))


@each_implementation
@pytest.mark.parametrize(
    "shape", [(LENGTH,), (BATCH, LENGTH), (1, LENGTH), (BATCH, HEADS, LENGTH), (BATCH, 1, LENGTH)], ids=str
)
def test_shapes_of_positions(implementation, shape):
    positions = np.broadcast_to(np.arange(LENGTH), shape)
    arrays = {"query_positions": positions, "key_positions": positions}
    for name in ("causal window", "per head"):
        pattern = PATTERNS[name]
        assert_close(answers(implementation, pattern, inputs(), arrays), answers(implementation, pattern, inputs()))


@pytest.mark.parametrize("implementation", taking("positions", TESTED))
@pytest.mark.parametrize("key_heads", [2, 3])
def test_positions_of_grouped_heads(implementation, key_heads):
    rng = np.random.default_rng(5)
    arrays = {
        "query_positions": rng.integers(0, LENGTH, (BATCH, 6, LENGTH)),
        "key_positions": rng.integers(0, LENGTH, (BATCH, key_heads, LENGTH)),
    }
    near, far = P.Causal() & P.Window(left=20), P.Strided(5)
    given = inputs(heads=6, key_heads=key_heads)
    for pattern in (near, P.PerHead([near, far, near, far, far, far])):
        got, expected = (answers(name, pattern, given, arrays) for name in (implementation, ORACLE))
        assert_close(got, expected)


@each_implementation
def test_positions_far_from_zero(implementation):
    arrays = {name: np.arange(LENGTH) + 10**9 for name in ("query_positions", "key_positions")}
    pattern = PATTERNS["causal window"]
    assert_close(answers(implementation, pattern, inputs(), arrays), answers(implementation, pattern, inputs()))


@each_implementation
def test_a_ring_cache(implementation):
    """Slot ``p % 64`` holds position ``p``: the newest 64 of 131 tokens, one of them not yet written."""
    t, ring = 130, 64
    given = inputs()
    window = P.Causal() & P.Window(left=50)
    held = np.arange(t - ring + 1, t + 1)
    held = held[np.argsort(held % ring)]
    stale = {name: given[name][:, held].copy() for name in ("key", "value")}
    written = np.broadcast_to(held != t - 60, (BATCH, ring))
    for name in stale:
        stale[name][:, ~written[0]] = np.nan
    one = attend(
        given["query"][:, t : t + 1], **stale, pattern=window, query_positions=np.array([t]), key_positions=held,
        key_mask=written, implementation=implementation,
    )  # fmt: skip
    whole = attend(**given, pattern=window, implementation=implementation)
    np.testing.assert_allclose(one, whole[:, t : t + 1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", ALL)
@pytest.mark.parametrize("name", ["causal", "window", "some empty rows", "nothing", "per head"])
def test_disjoint_parts_merge_to_the_whole(implementation, name):
    pattern, parts = PATTERNS[name], (P.Prefix(40), ~P.Prefix(40) & P.Strided(2), ~P.Prefix(40) & ~P.Strided(2))
    call = functools.partial(attend, return_lse=True, implementation=implementation)
    merged = answers_of(lambda given, _: merge([call(**given, pattern=pattern & part) for part in parts]), inputs(), {})
    assert_close(merged, answers(implementation, pattern, inputs()))
    assert all(np.isfinite(merged[gradient]).all() for gradient in GRADIENTS)


def test_merging_one_part_is_that_part():
    output, lse = attend(**inputs(), pattern=P.Causal(), return_lse=True)
    merged_output, merged_lse = merge([(output, lse)])
    np.testing.assert_allclose(merged_output, output, rtol=1e-6)
    np.testing.assert_allclose(merged_lse, lse, rtol=1e-6)
    with pytest.raises(ValueError, match="at least one"):
        merge([])
