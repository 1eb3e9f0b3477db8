"""Blocks and slots of earlier blocks by every implementation of attention, against the equation written out for all pairs."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance_cases import TESTED, assert_close

from efficient_attn.ops.block_linformer import EarlierBlocks, block_linformer_attention
from efficient_attn.patterns.block_mask import EMPTY, FULL, block_kinds

B, N, K, H, V, BLOCK, SLOTS = 2, 6, 3, 5, 7, 11, 4
LENGTH = 139

each_implementation = pytest.mark.parametrize("implementation", TESTED)


def inputs(length=LENGTH, own=True):
    keys = jax.random.split(jax.random.key(length), 5)
    shapes = ((B, length, N, H), (B, length, K, H), (B, length, K, V), (SLOTS, BLOCK), (*(K,) * own, SLOTS, BLOCK))
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def oracle(query, key, value, e, f, key_mask=None):
    """One softmax for each head over all tokens and all slots, those that are not seen at minus infinity."""
    length = query.shape[1]
    blocks = -(-length // BLOCK)
    mask = jnp.ones((B, length), bool) if key_mask is None else key_mask
    tokens, places = np.arange(length), np.repeat(np.arange(blocks), SLOTS)
    near = (tokens[:, None] // BLOCK == tokens // BLOCK) & (tokens <= tokens[:, None])
    filled = np.zeros((B, blocks * BLOCK), bool)
    alive = jnp.asarray(filled).at[:, :length].set(mask).reshape(B, blocks, BLOCK).any(-1)[:, places]
    seen = jnp.concatenate([near & mask[:, None], (places < tokens[:, None] // BLOCK) & alive[:, None]], -1)
    heads = []
    for n in range(N):
        both = []
        for x, projection in ((key, e), (value, f)):
            x = jnp.where(mask[..., None], x[:, :, n // (N // K)], 0)
            parts = jnp.pad(x, ((0, 0), (0, blocks * BLOCK - length), (0, 0))).reshape(B, blocks, BLOCK, -1)
            own = projection[n // (N // K)] if projection.ndim == 3 else projection
            both.append(jnp.concatenate([x, jnp.einsum("ps,bnsh->bnph", own, parts).reshape(B, blocks * SLOTS, -1)], 1))
        scores = jnp.where(seen, query[:, :, n] @ jnp.swapaxes(both[0], 1, 2) / H**0.5, -1e30)
        weights = jnp.where(seen, jax.nn.softmax(scores, axis=-1), 0)
        heads.append(weights @ both[1])
    return jnp.stack(heads, axis=2)


def answers(run, arrays):
    gradients = jax.jit(jax.grad(lambda *a: jnp.sin(run(*a)).sum(), range(5)))(*arrays)
    return {"output": jax.jit(run)(*arrays)} | dict(zip(("query", "key", "value", "e", "f"), gradients, strict=True))


@each_implementation
def test_the_equation_and_its_gradients(implementation):
    arrays = inputs()
    mask = jax.random.bernoulli(jax.random.key(1), 0.7, (B, LENGTH)).at[1, BLOCK : 2 * BLOCK].set(False)
    run = lambda *a: block_linformer_attention(*a, key_mask=mask, implementation=implementation)  # noqa: E731
    assert_close(answers(run, arrays), answers(lambda *a: oracle(*a, mask), arrays), most=2e-5)


@pytest.mark.parametrize("length", [1, BLOCK, BLOCK + 1, 3 * BLOCK - 1])
def test_short_texts_and_a_shared_projection(length):
    query, key, value, e, _ = inputs(length, own=False)
    found, expected = (jax.jit(run)(query, key, value, e, e) for run in (block_linformer_attention, oracle))
    chex.assert_trees_all_close(found, expected, atol=1e-5)


def test_later_tokens_change_nothing_and_earlier_ones_do():
    query, key, value, e, f = inputs(3 * BLOCK + 2)
    run = jax.jit(block_linformer_attention)
    whole = run(query, key, value, e, f)
    for cut in (5, BLOCK, 2 * BLOCK - 1, 2 * BLOCK + 3):
        later = (jnp.arange(query.shape[1]) >= cut)[None, :, None, None]
        changed = run(*(jnp.where(later, 7.0 - x, x) for x in (query, key, value)), e, f)
        np.testing.assert_array_equal(changed[:, :cut], whole[:, :cut])
        assert float(jnp.abs(changed[:, cut:] - whole[:, cut:]).min(-1).max(-1).min()) > 0


def test_hidden_tokens_may_hold_anything_and_texts_without_tokens_give_zero():
    arrays = inputs(3 * BLOCK)
    mask = jnp.arange(3 * BLOCK) < jnp.array([[2 * BLOCK + 1], [0]])
    spoiled = [jnp.where(mask[:, :, None, None], x, jnp.nan) for x in arrays[1:3]]
    run = jax.jit(lambda *a: block_linformer_attention(*a, key_mask=mask))
    found = run(arrays[0], *spoiled, *arrays[3:])
    np.testing.assert_array_equal(found, run(*arrays))
    np.testing.assert_array_equal(found[1], 0)


@pytest.mark.fast
@pytest.mark.parametrize(("q_len", "k_len", "block"), [(37, 12, 5), (40, 15, 8), (23, 23, 4), (64, 3, 16)])
def test_blocks_of_the_pattern_are_classified_exactly(q_len, k_len, block):
    pattern = EarlierBlocks(8, 3)
    dense = pattern.dense(q_len, k_len)
    for (row, column), kind in np.ndenumerate(block_kinds(pattern, q_len, k_len, block)):
        tile = dense[row * block : (row + 1) * block, column * block : (column + 1) * block]
        assert (kind == FULL, kind == EMPTY) == (tile.all(), not tile.any())


@pytest.mark.fast
def test_projections_that_do_not_fit_are_refused():
    query, key, value, e, f = inputs(BLOCK * 2)
    with pytest.raises(ValueError, match=r"same slots and the same tokens in a block, got \(4, 11\) and \(3, 11\)"):
        block_linformer_attention(query, key, value, e, f[:, :3])
    with pytest.raises(ValueError, match="for 2 heads, got 3"):
        block_linformer_attention(query, key, value, e, f[:2])
