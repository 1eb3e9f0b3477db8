"""Relative positions as products: the scores of Transformer-XL, near and far, and a layer with them against dense arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.relative_attention import RelativeAttention
from efficient_attn.ops.relative import key_features, position_features
from efficient_attn.patterns.expression import parse
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast
WIDTH, HEADS, SIZE, LENGTH = 12, 3, 4, 13


def relative(offsets, width=WIDTH):
    """The sines and cosines of Transformer-XL, in double precision."""
    whole = offsets[..., None] * 10_000.0 ** (-np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(whole), np.cos(whole)], axis=-1)


@pytest.mark.parametrize(("start", "within"), [(0, 2e-5), (32_000, 1e-3), (1_000_000, 2e-2)])
def test_products_are_those_of_offsets(start, within):
    draw = np.random.default_rng(0)
    query, projection = draw.normal(size=(2, LENGTH, HEADS, SIZE)), draw.normal(size=(WIDTH, HEADS, SIZE))
    positions = jnp.arange(start, start + LENGTH)
    after = position_features(jnp.asarray(query, jnp.float32), jnp.asarray(projection, jnp.float32), positions)
    found = jnp.einsum("btnd,sd->bnts", after, key_features(positions, WIDTH))
    offsets = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    wanted = np.einsum("btnh,tsd,dnh->bnts", query, relative(offsets), projection)
    np.testing.assert_allclose(found, wanted, atol=within * np.abs(wanted).max())


@pytest.mark.parametrize(
    "pattern",
    ["Causal() & Window(left=3)", "Causal() & PerHead([Window(left=4), Dilated(left=2, dilation=3), Window(left=4)])"],
)
def test_a_layer_is_that_of_transformer_xl_within_the_pattern(pattern):
    formats = (Initialization("unit", 1), Precision())
    layer = RelativeAttention(WIDTH, HEADS, HEADS, WIDTH, *formats, bias=False, rngs=nnx.Rngs(0))
    draw = np.random.default_rng(1)
    layer.content_bias[...], layer.position_bias[...] = (
        jnp.asarray(draw.normal(size=(HEADS, SIZE)), jnp.float32) for _ in range(2)
    )
    x, pattern = jnp.asarray(draw.normal(size=(2, LENGTH, WIDTH)), jnp.float32), parse(pattern)
    split = lambda y: np.asarray(y, np.float64).reshape(2, LENGTH, HEADS, SIZE)  # noqa: E731
    query, key, value = (split(project(x)) for project in (layer.query, layer.key, layer.value))
    projection = np.asarray(layer.relative.kernel[...], np.float64).reshape(WIDTH, HEADS, SIZE)
    offsets = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    content = np.einsum("btnh,bsnh->bnts", query + np.asarray(layer.content_bias[...]), key)
    where = np.einsum("btnh,tsd,dnh->bnts", query + np.asarray(layer.position_bias[...]), relative(offsets), projection)
    scores = np.where(pattern.dense(LENGTH, LENGTH), (content + where) / SIZE**0.5, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("bnts,bsnh->btnh", weights / weights.sum(-1, keepdims=True), value).reshape(2, LENGTH, WIDTH)
    wanted = mixed @ np.asarray(layer.output.kernel[...])
    np.testing.assert_allclose(jax.jit(lambda x: layer(x, pattern))(x), wanted, atol=1e-5)


def test_an_odd_width_is_refused():
    with pytest.raises(ValueError, match="even width, got 7"):
        key_features(jnp.arange(3), 7)
