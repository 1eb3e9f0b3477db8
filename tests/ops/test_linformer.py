"""Linformer attention against the equation written out, and what padding may and may not change."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops import linformer

B, T, S, N, K, H, SLOTS, LONGEST = 2, 7, 11, 6, 3, 5, 4, 13


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope="module")
def inputs():
    return draw(0, B, T, N, H), draw(1, B, S, K, H), draw(2, B, S, K, H)


def oracle(query, key, value, e, f, key_mask=None):
    """Head by head, by the equation."""
    keep = jnp.ones((B, S)) if key_mask is None else key_mask.astype(jnp.float32)
    heads = []
    for n in range(N):
        k = n // (N // K)
        head_e, head_f = (p[k] if p.ndim == 3 else p for p in (e, f))
        short_key = jnp.einsum("ps,bs,bsh->bph", head_e[:, :S], keep, key[:, :, k])
        short_value = jnp.einsum("ps,bs,bsh->bph", head_f[:, :S], keep, value[:, :, k])
        weights = jax.nn.softmax(query[:, :, n] @ jnp.swapaxes(short_key, 1, 2) / H**0.5, axis=-1)
        heads.append(weights @ short_value)
    return jnp.stack(heads, axis=2)


@pytest.mark.parametrize("shape,masked", [((SLOTS, LONGEST), False), ((K, SLOTS, LONGEST), True)])
def test_the_equation_and_its_gradients(inputs, shape, masked):
    e, f = draw(3, *shape), draw(4, *shape)
    mask = jnp.arange(S) < jnp.array([[S], [6]]) if masked else None
    run = jax.jit(lambda *a: linformer.linformer_attention(*a, key_mask=mask))
    expect = jax.jit(lambda *a: oracle(*a, key_mask=mask))
    chex.assert_trees_all_close(run(*inputs, e, f), expect(*inputs, e, f), atol=1e-5)
    grads = [jax.grad(lambda *a, g=g: (g(*a) ** 2).sum(), range(5))(*inputs, e, f) for g in (run, expect)]
    chex.assert_trees_all_close(*grads, atol=2e-3, rtol=1e-4)


def test_padding_may_hold_anything_and_hidden_rows_give_zero(inputs):
    query, key, value = inputs
    e, mask = draw(3, SLOTS, LONGEST), jnp.arange(S) < jnp.array([[6], [0]])
    clean = linformer.linformer_attention(query, key, value, e, e, key_mask=mask)
    spoiled = [jnp.where(mask[:, :, None, None], x, jnp.nan) for x in (key, value)]
    found = linformer.linformer_attention(query, *spoiled, e, e, key_mask=mask)
    np.testing.assert_array_equal(found, clean)
    np.testing.assert_array_equal(found[1], 0)
    slopes = jax.grad(lambda k, v: linformer.linformer_attention(query, k, v, e, e, key_mask=mask).sum(), (0, 1))(
        *spoiled
    )
    chex.assert_tree_all_finite(slopes)


def test_projecting_tokens_first_gives_the_same_keys_and_values():
    tokens, kernel, e = draw(0, B, S, 1, H), draw(1, H, K, H), draw(2, SLOTS, S)
    after = linformer.compress(jnp.einsum("bsd,dkh->bskh", tokens[:, :, 0], kernel), e)
    before = jnp.einsum("bsd,dkh->bskh", linformer.compress(tokens, e)[:, :, 0], kernel)
    chex.assert_trees_all_close(after, before, atol=1e-4)


def test_pools_take_the_tokens_that_take_part():
    x, mask = draw(0, B, S, K, H), jnp.arange(S) < jnp.array([[S], [5]])
    spoiled = jnp.where(mask[:, :, None, None], x, jnp.nan)
    for pool, by_hand in ((linformer.mean_pool, np.mean), (linformer.max_pool, np.max)):
        found = pool(spoiled, 4, mask)
        chex.assert_shape(found, (B, 3, K, H))
        np.testing.assert_allclose(found[0, 2], by_hand(x[0, 8:], axis=0), atol=1e-6)
        np.testing.assert_allclose(found[1, 1], x[1, 4], atol=1e-6)
        np.testing.assert_array_equal(found[1, 2], 0)
        chex.assert_tree_all_finite(jax.grad(lambda x, pool=pool: pool(x, 4, mask).sum())(spoiled))
    np.testing.assert_array_equal(linformer.slot_mask(mask, 4), [[True, True, True], [True, True, False]])


def test_a_convolution_is_a_linear_map_of_each_window():
    x, kernel = draw(0, B, 12, K, H), draw(1, 4, K, H, 2)
    found = linformer.convolve(x, kernel)
    by_hand = sum(np.asarray(x)[:, 8 + r, 1] @ np.asarray(kernel)[r, 1] for r in range(4))
    np.testing.assert_allclose(found[:, 2, 1], by_hand, atol=1e-5)
    shared = linformer.convolve(x, kernel[:, 0])
    chex.assert_trees_all_close(shared[:, :, 0], found[:, :, 0], atol=1e-5)


def test_bfloat16_and_vmap(inputs):
    e = draw(3, SLOTS, S) / S**0.5
    full = linformer.linformer_attention(*inputs, e, e)
    low = linformer.linformer_attention(*(x.astype(jnp.bfloat16) for x in (*inputs, e, e)))
    chex.assert_type(low, jnp.bfloat16)
    chex.assert_trees_all_close(low.astype(jnp.float32), full, atol=5e-2)
    rows = jax.vmap(lambda *a: linformer.linformer_attention(*(x[None] for x in a), e, e)[0])(*inputs)
    chex.assert_trees_all_close(rows, full, atol=1e-5)


@pytest.mark.parametrize(
    "e,f,message",
    [
        ((SLOTS, S - 1), (SLOTS, S), "up to 10 tokens, got 11"),
        ((SLOTS, S), (5, S), "same number of slots, got 4 and 5"),
    ],
)
def test_bad_projections(inputs, e, f, message):
    with pytest.raises(ValueError, match=message):
        linformer.linformer_attention(*inputs, jnp.ones(e), jnp.ones(f))


def test_other_bad_input():
    x = jnp.ones((B, S, K, H))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        linformer.mean_pool(x, 0)
    with pytest.raises(ValueError, match="for 2 heads, got 3"):
        linformer.convolve(x, jnp.ones((4, 2, H, H)))
    with pytest.raises(ValueError, match="for 2 heads, got 3"):
        linformer.compress(x, jnp.ones((2, SLOTS, S)))
