"""The plug for ``flax.nnx.MultiHeadAttention`` gives what flax gives with the dense mask."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn import patterns as P
from efficient_attn.nn.flax_attention import flax_attention_fn

BATCH, TOKENS, HEADS, WIDTH = 2, 131, 3, 15
PATTERN = P.Causal() & (P.Window(left=16) | P.Strided(17))
DENSE = PATTERN.dense(TOKENS, TOKENS)[None, None]


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def layer(attention_fn=nnx.dot_product_attention, **options):
    return nnx.MultiHeadAttention(
        HEADS, WIDTH, decode=False, rngs=nnx.Rngs(0), **{"attention_fn": attention_fn, **options}
    )


def gradients(module, x, **options):
    graph, state = nnx.split(module)
    loss = lambda state, x: (nnx.merge(graph, state)(x, **options) ** 2).sum()  # noqa: E731
    return jax.tree.leaves(jax.grad(loss, argnums=(0, 1), allow_int=True)(state, x))


@pytest.mark.parametrize("shape", [(BATCH,), (), (2, 3)], ids=str)
def test_a_layer_equals_flax_with_the_dense_mask(shape):
    x = draw(0, *shape, TOKENS, WIDTH)
    dense = np.broadcast_to(DENSE[0], (*shape, 1, TOKENS, TOKENS))
    expected = layer()(x, mask=dense)
    np.testing.assert_allclose(layer(flax_attention_fn(PATTERN))(x), expected, rtol=1e-4, atol=1e-5)


def test_its_gradients_equal_too():
    x = draw(0, BATCH, TOKENS, WIDTH)
    got, expected = gradients(layer(flax_attention_fn(PATTERN)), x), gradients(layer(), x, mask=DENSE)
    for a, b in zip(got, expected, strict=True):
        if a.dtype == jnp.float32:
            np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, float(np.abs(b).max())))


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_a_mask_of_keys(dtype):
    x, keys = draw(0, BATCH, TOKENS, WIDTH), draw(1, BATCH, 1, 1, TOKENS) > -1
    keys[..., 0] = True
    pattern = P.Causal() & (P.Window(left=16) | P.Strided(17) | P.Global(keys=[0]))
    dense = pattern.dense(TOKENS, TOKENS) & keys
    got = layer(flax_attention_fn(pattern))(x, mask=keys.astype(dtype))
    np.testing.assert_allclose(got, layer()(x, mask=dense), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, TOKENS), (TOKENS,), (1, 1, 1, TOKENS)], ids=str)
def test_masks_of_keys_broadcast(shape):
    query = draw(0, BATCH, TOKENS, HEADS, 5)
    visible = np.arange(TOKENS) < 100
    got = flax_attention_fn(P.Full())(query, query, query, mask=visible.reshape(shape))
    expected = nnx.dot_product_attention(query, query, query, mask=visible[None, None, None])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(HEADS, TOKENS, TOKENS), (2, 1, HEADS, 1, TOKENS), (TOKENS, 1)], ids=str)
def test_bias(shape):
    query, bias = draw(0, 2, 3, TOKENS, HEADS, 5), draw(2, *shape)
    got = flax_attention_fn(P.Full())(query, query, query, bias=bias)
    flat = query.reshape(6, TOKENS, HEADS, 5)
    full = np.broadcast_to(bias, (2, 3, HEADS, TOKENS, TOKENS)).reshape(6, HEADS, TOKENS, TOKENS)
    expected = nnx.dot_product_attention(flat, flat, flat, bias=full).reshape(query.shape)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_causal_on_top_of_the_pattern():
    query = draw(0, BATCH, TOKENS, HEADS, 5)
    got = flax_attention_fn(P.Full())(query, query, query, is_causal=True)
    np.testing.assert_allclose(got, flax_attention_fn(P.Causal())(query, query, query), rtol=1e-6)


def test_dropout_takes_flaxs_randomness():
    x = draw(0, BATCH, TOKENS, WIDTH)
    module = layer(flax_attention_fn(PATTERN), dropout_rate=0.5)
    plain = layer(flax_attention_fn(PATTERN))(x)
    np.testing.assert_array_equal(module(x, deterministic=True), plain)
    first, second = (module(x, deterministic=False, rngs=nnx.Rngs(dropout=7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (np.asarray(first) != np.asarray(plain)).any()


@pytest.mark.parametrize("precision", [None, "highest", jax.lax.Precision.HIGHEST])
def test_formats_and_precision(precision):
    module = layer(flax_attention_fn(PATTERN), dtype=jnp.bfloat16, precision=precision)
    assert module(draw(0, BATCH, TOKENS, WIDTH)).dtype == jnp.bfloat16


@pytest.mark.parametrize("shape", [(BATCH, 1, TOKENS, TOKENS), (1, HEADS, 1, TOKENS), (TOKENS, TOKENS)], ids=str)
def test_masks_of_pairs_are_refused(shape):
    query = draw(0, BATCH, TOKENS, HEADS, 5)
    with pytest.raises(ValueError, match="mask must only hide keys"):
        flax_attention_fn(PATTERN)(query, query, query, mask=np.ones(shape, bool))


def test_masks_of_other_lengths_are_refused():
    query = draw(0, BATCH, TOKENS, HEADS, 5)
    with pytest.raises(ValueError, match="mask must broadcast to"):
        flax_attention_fn(PATTERN)(query, query, query, mask=np.ones((BATCH, 1, 1, 7), bool))


def test_other_keys_than_queries_are_refused():
    module = layer(flax_attention_fn(PATTERN))
    with pytest.raises(ValueError, match="query_positions"):
        module(draw(0, BATCH, 5, WIDTH), draw(1, BATCH, 7, WIDTH))


def test_sown_weights_are_refused():
    with pytest.raises(ValueError, match="never computed"):
        layer(flax_attention_fn(PATTERN))(draw(0, BATCH, TOKENS, WIDTH), sow_weights=True)
