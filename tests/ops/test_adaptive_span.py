"""Adaptive spans against the quotient of the paper, and what cutting at the span may change: nothing."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops import adaptive_span

B, T, N, H, RAMP = 2, 37, 3, 5, 8.0


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.fixture(scope="module")
def inputs():
    return draw(0, B, T, N, H), draw(1, B, T, N, H), draw(2, B, T, N, H)


def oracle(query, key, value, span, table=None, key_mask=None):
    distance = jnp.arange(T)[:, None] - jnp.arange(T)
    scores = jnp.einsum("btnh,bsnh->bnts", query, key)
    if table is not None:
        products = jnp.einsum("btnh,hl->bntl", query, table)
        scores += jnp.take_along_axis(products, jnp.clip(distance - 1, 0, T - 1)[None, None], axis=-1)
    per_row = span[None, :, None, None] if span.ndim == 1 else jnp.swapaxes(span, 1, 2)[..., None]
    mask = jnp.clip((RAMP + per_row - distance) / RAMP, 0, 1) * (distance > 0)
    if key_mask is not None:
        mask = mask * key_mask[:, None, None]
    weights = mask * jnp.exp(scores / H**0.5)
    total = weights.sum(-1, keepdims=True)
    return jnp.einsum("bnts,bsnh->btnh", weights / jnp.where(total == 0, 1, total), value)


def test_the_mask_is_one_within_the_span_and_falls_over_the_ramp():
    found = adaptive_span.span_mask(jnp.array([0, 10, 11, 14, 18, 30]), jnp.array(10.0), RAMP)
    np.testing.assert_allclose(found, [1, 1, 7 / 8, 0.5, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    "dynamic,positions,masked", [(False, False, True), (False, True, False), (True, False, False), (True, True, True)]
)
def test_the_quotient_and_its_gradients(inputs, dynamic, positions, masked):
    span = jax.random.uniform(jax.random.key(3), (B, T, N) if dynamic else (N,)) * 20
    table = draw(4, H, T) if positions else None
    mask = jnp.arange(T) >= jnp.array([[0], [9]]) if masked else None
    run = jax.jit(
        lambda q, k, v, z, p: adaptive_span.adaptive_span_attention(
            q, k, v, z, limit=T, ramp=RAMP, position_keys=p, key_mask=mask
        )
    )
    expect = jax.jit(lambda q, k, v, z, p: oracle(q, k, v, z, p, mask))
    found = run(*inputs, span, table)
    chex.assert_trees_all_close(found, expect(*inputs, span, table), atol=1e-5)
    np.testing.assert_array_equal(found[:, 0], 0)
    which = (0, 1, 2, 3, 4) if positions else (0, 1, 2, 3)
    grads = [jax.jit(jax.grad(lambda *a, f=f: (f(*a) ** 2).sum(), which))(*inputs, span, table) for f in (run, expect)]
    chex.assert_trees_all_close(*grads, atol=1e-3, rtol=1e-4)


def test_cutting_beyond_every_span_changes_nothing(inputs):
    span = jnp.array([0.0, 3.5, 7.2])
    limit = adaptive_span.span_limit(span, longest=T, ramp=RAMP, step=4)
    assert limit == 16
    whole = adaptive_span.adaptive_span_attention(*inputs, span, limit=T, ramp=RAMP)
    cut = adaptive_span.adaptive_span_attention(*inputs, span, limit=limit, ramp=RAMP)
    chex.assert_trees_all_close(cut, whole, atol=1e-6)
    assert adaptive_span.span_limit(span, longest=11, ramp=RAMP) == 11
    assert adaptive_span.span_limit(np.float32(33.0), longest=8192) == 128


def test_a_query_whose_near_keys_are_hidden_sees_nothing(inputs):
    mask = jnp.broadcast_to(jnp.arange(T) < 5, (B, T))
    found = adaptive_span.adaptive_span_attention(*inputs, jnp.zeros(N), limit=T, ramp=RAMP, key_mask=mask)
    assert float(jnp.abs(found[:, 5]).min()) > 0
    np.testing.assert_array_equal(found[:, 4 + int(RAMP) :], 0)


def test_a_memory_of_earlier_tokens_continues_the_sequence(inputs):
    query, key, value = inputs
    span = jnp.array([2.0, 9.0, 20.0])
    whole = adaptive_span.adaptive_span_attention(query, key, value, span, limit=30, ramp=RAMP)
    tail = adaptive_span.adaptive_span_attention(
        query[:, 20:], key, value, span, limit=30, ramp=RAMP, query_positions=jnp.arange(20, T)
    )
    chex.assert_trees_all_close(tail, whole[:, 20:], atol=1e-6)


def test_bfloat16_vmap_and_the_penalty(inputs):
    span = jnp.array([2.0, 9.0, 20.0])
    full = adaptive_span.adaptive_span_attention(*inputs, span, limit=T, ramp=RAMP)
    low = adaptive_span.adaptive_span_attention(*(x.astype(jnp.bfloat16) for x in inputs), span, limit=T, ramp=RAMP)
    chex.assert_type(low, jnp.bfloat16)
    chex.assert_trees_all_close(low.astype(jnp.float32), full, atol=5e-2)
    rows = jax.vmap(
        lambda *a: adaptive_span.adaptive_span_attention(*(x[None] for x in a), span, limit=T, ramp=RAMP)[0]
    )(*inputs)
    chex.assert_trees_all_close(rows, full, atol=1e-5)
    np.testing.assert_allclose(adaptive_span.span_penalty(span, 2e-6), 2e-6 * 31 / 3, rtol=1e-6)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"ramp": 0.0}, "ramp must be above 0, got 0.0"),
        ({"position_keys": jnp.ones((H, 4))}, "each of 37 distances, got 4"),
    ],
)
def test_bad_input(inputs, change, message):
    with pytest.raises(ValueError, match=message):
        adaptive_span.adaptive_span_attention(*inputs, jnp.ones(N), **({"limit": T, "ramp": RAMP} | change))
