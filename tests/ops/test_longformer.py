"""Longformer's attention against its equations written out on dense masks: values, gradients, who sees whom, bad input."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from efficient_attn.ops.longformer import longformer_attention

B, N, K, H, HV = 2, 4, 2, 5, 7


def draw(tokens):
    """Both sets of queries, keys and values, for two key heads shared by four query heads."""
    shapes = [(N, H), (K, H), (K, HV)] * 2
    return [
        jax.random.normal(k, (B, tokens, *s))
        for k, s in zip(jax.random.split(jax.random.key(7), 6), shapes, strict=True)
    ]


def masks(tokens, hidden, found):
    """Key mask with ``hidden`` tokens at each row's end, and global mask."""
    key_mask = np.arange(tokens) < tokens - np.array(hidden)[:, None]
    global_mask = np.zeros((B, tokens), bool)
    for row, places in enumerate(found):
        global_mask[row, list(places)] = True
    return key_mask, global_mask


def oracle(query, key, value, global_query, global_key, global_value, *, near, before, key_mask, chosen):
    """Sets of keys as dense masks, two softmaxes, and the global rows written over the others."""
    chosen = chosen & key_mask
    shown = (key_mask[:, None, :] & before)[:, None]
    local = _softmax(query, key, value, shown & (near | chosen[:, None, None, :]))
    everywhere = _softmax(global_query, global_key, global_value, shown)
    output = jnp.where(chosen[..., None, None], everywhere, local)
    return jnp.where(key_mask[..., None, None], output, 0.0)


def pairs(tokens, window, dilation, causal):
    """Which pairs are near in each head, and which are allowed at all: dense masks."""
    offset = np.arange(tokens)[:, None] - np.arange(tokens)
    near = [(abs(offset) <= window * d) & (offset % d == 0) for d in np.broadcast_to(dilation, (N,))]
    return {"near": np.stack(near), "before": offset >= 0 if causal else offset == offset}


def _softmax(query, key, value, visible):
    key, value = (jnp.repeat(x, N // K, axis=2) for x in (key, value))
    scores = jnp.einsum("btnh,bsnh->bnts", query, key, precision="highest") / H**0.5
    some = visible.any(-1, keepdims=True)
    weights = jax.nn.softmax(jnp.where(visible | ~some, scores, -jnp.inf), axis=-1) * visible
    return jnp.einsum("bnts,bsnh->btnh", weights, value, precision="highest")


# Tokens, window, dilation, causal, hidden at the end, globals of each row.
CASES = {
    "local": (277, 40, 1, False, (0, 0), None),
    "uneven globals": (277, 40, 1, False, (0, 31), ((*range(20, 29), 130), (276 - 40,))),
    "a row without globals, another all hidden": (61, 0, 1, False, (2, 61), ((), (1, 2))),
    "window beyond both ends": (61, 300, 1, False, (0, 5), ((2,), (0, 60))),
    "dilated by head": (61, 5, (1, 2, 2, 1), False, (4, 0), ((0,), (5,))),
    "causal and dilated": (61, 5, 2, True, (0, 7), ((4, 40), (0,))),
}


def with_gradients(run):
    """One program for the result and the gradients of its product with a slope."""

    def call(arrays, slope, given):
        output, pull = jax.vjp(lambda *a: run(*a, **given), *arrays)
        return output, pull(slope)

    return jax.jit(call)


expected = with_gradients(oracle)


@pytest.mark.parametrize("case", CASES)
def test_the_equations_and_their_gradients(case):
    tokens, window, dilation, causal, hidden, found = CASES[case]
    arrays, (key_mask, chosen) = draw(tokens), masks(tokens, hidden, found or ((), ()))
    slope = jax.random.normal(jax.random.key(8), (B, tokens, N, HV))
    ours = functools.partial(
        longformer_attention, window=window, dilation=dilation, causal=causal, max_globals=11 if found else 0
    )
    given = {"key_mask": key_mask} | ({"global_mask": chosen} if found else {})
    got, gradients = with_gradients(ours)(arrays, slope, given)
    whole = {"key_mask": key_mask, "chosen": chosen} | pairs(tokens, window, dilation, causal)
    want, other = expected(arrays, slope, whole)
    np.testing.assert_allclose(got, want, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(got)[~key_mask], 0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), gradients, other)


def weights(tokens, **options):
    """``d output[i] / d value[j]`` by the local and by the global values, of the first row and head."""
    arrays = [x[:1] for x in draw(tokens)]
    eye = jnp.broadcast_to(jnp.eye(tokens)[None, :, None], (1, tokens, K, tokens))
    zero = jnp.zeros_like(eye)
    run = lambda v, w: longformer_attention(*arrays[:2], v, *arrays[3:5], w, **options)[0, :, 0]  # noqa: E731
    run = jax.jit(run)
    return np.asarray(run(eye, zero)), np.asarray(run(zero, eye))


@pytest.mark.fast
def test_who_sees_whom():
    local, far = weights(8, window=2, global_mask=np.arange(8)[None] == 0, max_globals=3)
    assert set(np.flatnonzero(local[5])) == {0, 3, 4, 5, 6, 7}
    assert set(np.flatnonzero(local[1])) == {0, 1, 2, 3}
    assert not local[0].any() and (far[0] > 0).all() and not far[1:].any()
    np.testing.assert_allclose((local + far).sum(-1), 1, rtol=1e-6)


@pytest.mark.fast
def test_nothing_comes_from_the_future():
    local, far = weights(13, window=3, causal=True, global_mask=np.isin(np.arange(13), (2, 9))[None], max_globals=2)
    assert not np.triu(local + far, 1).any()
    assert set(np.flatnonzero(local[8])) == {2, 5, 6, 7, 8} and set(np.flatnonzero(far[9])) == set(range(10))


def test_hidden_tokens_may_hold_anything():
    arrays, (key_mask, global_mask) = draw(29), masks(29, (6, 0), ((0, 27), (3,)))
    dirty = [jnp.where(key_mask[..., None, None], x, jnp.nan) for x in arrays]
    run = lambda a: longformer_attention(*a, window=4, key_mask=key_mask, global_mask=global_mask, max_globals=2)  # noqa: E731
    both = jax.jit(jax.value_and_grad(lambda a: (run(a).sum(), run(a)), has_aux=True))
    ((_, clean), gradients), ((_, got), _) = both(arrays), both(dirty)
    np.testing.assert_array_equal(got, clean)
    assert all(not np.asarray(g)[~key_mask].any() for g in gradients)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.fast
def test_more_globals_than_places():
    arrays, (_, global_mask) = draw(17), masks(17, (0, 0), ((1, 5, 9), (2,)))
    run = lambda m: longformer_attention(*arrays, window=3, global_mask=m, max_globals=2)  # noqa: E731
    with pytest.raises(ValueError, match="a row has 3 global tokens, but max_globals leaves room for 2"):
        run(global_mask)
    fewer = global_mask.copy()
    fewer[0, 9] = False
    compiled = jax.jit(run)
    np.testing.assert_array_equal(compiled(global_mask), compiled(fewer))
    with pytest.raises(ValueError, match="max_globals leaves room for 0"):
        longformer_attention(*arrays, window=3, global_mask=global_mask)
    with pytest.raises(ValueError, match="global tokens need global_query, global_key and global_value"):
        longformer_attention(*arrays[:3], window=3, global_mask=global_mask, max_globals=3)
    with pytest.raises(ValueError, match="window"):
        longformer_attention(*arrays, window=-1)
    with pytest.raises(ValueError, match="dilation"):
        longformer_attention(*arrays, window=1, dilation=0)


def test_dropout_keeps_the_mean_and_repeats_itself():
    arrays, (_, global_mask) = draw(11), masks(11, (0, 0), ((1,), (2, 7)))
    options = {"window": 3, "global_mask": global_mask, "max_globals": 2}
    run = jax.jit(lambda key: longformer_attention(*arrays, **options, dropout_rate=0.3, dropout_key=key))
    keys = jax.random.split(jax.random.key(0), 3000)
    results = jax.jit(lambda keys: jax.lax.map(run, keys))(jnp.concatenate([keys, keys[:1]]))
    np.testing.assert_array_equal(results[0], results[-1])
    # Standard error: below 1 / sqrt(3000) of a value of about 1.
    np.testing.assert_allclose(results.mean(0), longformer_attention(*arrays, **options), atol=0.1)


def test_the_kernel_for_tpus():
    arrays, (key_mask, global_mask) = draw(131), masks(131, (0, 9), ((0, 5, 130), (64,)))
    options = {"window": 12, "key_mask": key_mask, "global_mask": global_mask, "max_globals": 4}
    with pltpu.force_tpu_interpret_mode(True):
        got = longformer_attention(*arrays, **options, implementation="pallas_tpu")
    chex.assert_trees_all_close(got, longformer_attention(*arrays, **options), atol=1e-5)


def test_memory_is_linear_in_the_length():
    def temporaries(tokens):
        shapes = [jax.ShapeDtypeStruct((1, tokens, *s), jnp.float32) for s in [(2, 8)] * 6]
        mask = jax.ShapeDtypeStruct((1, tokens), jnp.bool_)
        run = lambda a, m: longformer_attention(*a, window=128, global_mask=m, max_globals=4).sum()  # noqa: E731
        return jax.jit(jax.grad(run)).lower(shapes, mask).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(8192) < 2.2 * temporaries(4096)
