"""Attention, feed-forward, block and dropout against plain formulas."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn import Block, FeedForward, SelfAttention
from efficient_attn.nn.cache import empty_cache
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.feedforward import ACTIVATIONS, quick_gelu
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.positions import rotate
from efficient_attn.patterns.expression import parse
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast

WIDTH, HEADS, BATCH, LENGTH = 24, 6, 2, 13
INIT = Initialization("code", 1)
PATTERN = parse("Causal() & Window(left=4)")
X = jax.random.normal(jax.random.key(5), (BATCH, LENGTH, WIDTH))


def attention(key_heads=HEADS, qk_width=WIDTH, rotary=None, precision=None):
    rngs = nnx.Rngs(0)
    precision = Precision() if precision is None else precision
    return SelfAttention(WIDTH, HEADS, key_heads, qk_width, INIT, precision, rotary=rotary, rngs=rngs)


def plainly(module, x, allowed):
    """Attention by a full matrix of weights, with key heads repeated."""

    def heads(linear, count):
        y = x @ linear.kernel[...] + linear.bias[...]
        return y.reshape(*y.shape[:2], count, -1)

    query = heads(module.query, HEADS)
    key, value = (heads(linear, module.key_heads) for linear in (module.key, module.value))
    if module.rotary is not None:
        query, key = (rotate(y, jnp.arange(x.shape[1]), module.rotary) for y in (query, key))
    key, value = (jnp.repeat(y, HEADS // module.key_heads, axis=2) for y in (key, value))
    scores = jnp.einsum("btnh,bsnh->bnts", query, key) / query.shape[-1] ** 0.5
    weights = jax.nn.softmax(jnp.where(allowed, scores, -jnp.inf), axis=-1)
    mixed = jnp.einsum("bnts,bsnh->btnh", weights, value).reshape(x.shape)
    return mixed @ module.output.kernel[...] + module.output.bias[...]


@pytest.mark.parametrize(("key_heads", "rotary"), [(1, None), (2, 100.0), (6, 100.0)])
def test_attention_with_grouped_heads_equals_repeated_heads(key_heads, rotary):
    module = attention(key_heads, rotary=rotary)
    found = module(X, PATTERN)
    chex.assert_equal_shape([found, X])
    np.testing.assert_allclose(found, plainly(module, X, PATTERN.dense(LENGTH, LENGTH)), atol=1e-5)


def test_attention_with_narrow_queries():
    module = attention(qk_width=WIDTH // 2)
    chex.assert_shape(module.query.kernel[...], (WIDTH, WIDTH // 2))
    chex.assert_shape(module.value.kernel[...], (WIDTH, WIDTH))
    np.testing.assert_allclose(module(X, PATTERN), plainly(module, X, PATTERN.dense(LENGTH, LENGTH)), atol=1e-5)


def test_one_step_of_attention_writes_its_slot_and_equals_the_first_row():
    module = attention(2, rotary=100.0)
    cache = empty_cache(5, BATCH, 2, (4, 4), jnp.float32)
    zero = jnp.asarray(0)
    found, after = module.step(X[:, :1], PATTERN, cache, zero, zero)
    chex.assert_shape(found, (BATCH, 1, WIDTH))
    chex.assert_trees_all_equal_shapes_and_dtypes(cache, after)
    np.testing.assert_allclose(found, module(X, PATTERN)[:, :1], atol=1e-5)
    np.testing.assert_array_equal(after.positions, [0, -1, -1, -1, -1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feedforward(activation):
    module = FeedForward(WIDTH, 31, activation, INIT, Precision(), rngs=nnx.Rngs(0))
    hidden = ACTIVATIONS[activation](X @ module.expand.kernel[...])
    found = module(X)
    chex.assert_equal_shape([found, X])
    np.testing.assert_allclose(found, hidden @ module.contract.kernel[...], atol=1e-5)


def test_quick_gelu_by_hand():
    np.testing.assert_allclose(
        quick_gelu(jnp.array([-1.0, 0.0, 2.0])), [-1 / (1 + np.exp(1.702)), 0, 2 / (1 + np.exp(-3.404))], rtol=1e-6
    )


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_block_places_its_norms(norm):
    feedforward = FeedForward(WIDTH, 31, "gelu", INIT, Precision(), rngs=nnx.Rngs(1))
    block = Block(attention(), feedforward, norm, WIDTH, rngs=nnx.Rngs(2))

    def normal(x):
        return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    if norm == "pre":
        middle = X + block.attention(normal(X), PATTERN)
        expected = middle + feedforward(normal(middle))
    else:
        middle = normal(X + block.attention(X, PATTERN))
        expected = normal(middle + feedforward(middle))
    found = block(X, PATTERN, 0.0, None)
    chex.assert_equal_shape([found, X])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_block_computes_in_bfloat16_around_a_float32_stream():
    precision = Precision(compute="bfloat16")
    feedforward = FeedForward(WIDTH, 31, "gelu", INIT, precision, rngs=nnx.Rngs(1))
    block = Block(attention(precision=precision), feedforward, "pre", WIDTH, rngs=nnx.Rngs(2))
    chex.assert_type(feedforward(X), jnp.bfloat16)
    chex.assert_type(block(X, PATTERN, 0.0, None), jnp.float32)


def test_dropout_keeps_the_mean_and_needs_a_key():
    ones = jnp.ones((4, 100, 50))
    dropped = drop(ones, 0.25, jax.random.key(0))
    assert set(np.unique(dropped).tolist()) == {0.0, float(np.float32(1 / 0.75))}
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.02)
    assert drop(ones, 0.25, None) is ones
    assert drop(ones, 0.0, jax.random.key(0)) is ones
