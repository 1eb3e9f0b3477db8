"""Entmax attention against entmax of the whole matrix of scores; its memory; and what training a model with it learns."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.nn import EntmaxAttention
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.entmax import entmax, entmax_attention
from efficient_attn.precision import Precision

B, T, N, K, H, HV = 2, 271, 6, 3, 5, 7

PATTERNS = {
    "causal": P.Causal(),
    "window": P.Window(left=13, right=5),
    "empty rows": P.Causal() & ~P.Window(left=10),
    "nothing": P.Strided(7) & ~P.Strided(7),
    "per head": P.PerHead([P.Causal(), P.Chunk(29), P.Full(), P.Window(left=3), P.Causal() & P.Strided(9), P.Causal()]),
}
ALPHAS = {"1.5": 1.5, "sparsemax": 2.0, "per head": np.linspace(1.05, 1.95, N, dtype=np.float32)}


def draw(seed, *shape):
    return 2 * np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(length=T):
    return draw(1, B, length, N, H), draw(2, B, length, K, H), draw(3, B, length, K, HV)


def oracle(query, key, value, pattern, alpha):
    key, value = (jnp.repeat(x, N // K, axis=2) for x in (key, value))
    scores = jnp.einsum("bthd,bshd->bhts", query, key) * H**-0.5
    alpha = alpha if isinstance(alpha, float) else alpha[:, None, None]
    weights = entmax(scores, alpha, where=jnp.asarray(pattern.dense(query.shape[1], key.shape[1])))
    return jnp.einsum("bhts,bshd->bthd", weights, value)


# Compiling both sides is the time of this test: each pattern with alphas by head, the form that holds the others, and
# the two alphas that have thresholds of their own where rows are empty and where heads differ.
CASES = [(name, "per head") for name in PATTERNS]
CASES += [(name, alpha) for name in ("empty rows", "per head") for alpha in ("1.5", "sparsemax")]


@pytest.mark.parametrize(("name", "alpha"), CASES)
def test_output_and_gradients_are_those_of_the_whole_matrix(name, alpha):
    pattern, alpha = PATTERNS[name], ALPHAS[alpha]
    argument = () if isinstance(alpha, float) else (3,)

    def run(function):
        def loss(query, key, value, alpha):
            output = function(query, key, value, pattern, alpha)
            return (output * draw(4, *output.shape)).sum(), output

        values = (*inputs(), alpha)
        static = () if argument else (3,)
        (_, output), gradients = jax.jit(
            jax.value_and_grad(loss, (0, 1, 2, *argument), has_aux=True), static_argnums=static
        )(*values)
        return output, gradients

    (got, got_gradients), (expected, expected_gradients) = run(entmax_attention), run(oracle)
    chex.assert_shape(got, (B, T, N, HV))
    np.testing.assert_allclose(got, expected, atol=1e-5)
    for mine, right in zip(got_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(mine, right, atol=2e-5 * max(1.0, float(np.abs(right).max())))


def test_at_alpha_1_it_is_attention():
    query, key, value = inputs()
    expected = attend(query, key, value, P.Causal(), implementation="reference")
    np.testing.assert_allclose(
        entmax_attention(*map(jnp.asarray, (query, key, value)), P.Causal(), 1.0), expected, atol=1e-5
    )


def test_what_a_hidden_key_holds_changes_nothing():
    query, key, value = map(jnp.asarray, inputs())
    mask = jnp.asarray(np.random.default_rng(0).random((B, T)) < 0.7)
    hide = lambda x, with_: jnp.where(mask[:, :, None, None], x, with_)  # noqa: E731
    clean = entmax_attention(query, hide(key, 0.0), hide(value, 0.0), P.Causal(), key_mask=mask)
    dirty = entmax_attention(query, hide(key, jnp.nan), hide(value, jnp.nan), P.Causal(), key_mask=mask)
    np.testing.assert_array_equal(clean, dirty)
    first = int(jnp.argmax(mask[0]))
    np.testing.assert_array_equal(clean[0, :first], 0.0)


def temporaries(length):
    """Bytes that the gradient of a window of 64 needs beside its arguments and results."""
    shape = jax.ShapeDtypeStruct((1, length, 2, 16), jnp.float32)
    loss = lambda q, k, v: entmax_attention(q, k, v, P.Causal() & P.Window(left=63)).sum()  # noqa: E731
    return jax.jit(jax.grad(loss, (0, 1, 2))).lower(shape, shape, shape).compile().memory_analysis().temp_size_in_bytes


def test_memory_of_a_window_is_linear_in_the_length():
    short, long = temporaries(2048), temporaries(8192)
    assert long < 4.4 * short
    assert long < 8192**2


@pytest.mark.parametrize("bad", [np.ones(N - 1, np.float32), np.ones((N, 1), np.float32)], ids=["heads", "axes"])
def test_refuses_alphas_of_another_shape(bad):
    with pytest.raises((ValueError, TypeError), match=r"alpha|entmax_attention"):
        entmax_attention(*map(jnp.asarray, inputs()), P.Causal(), jnp.asarray(bad))


def test_learned_alphas_start_between_their_bounds_and_have_a_gradient():

    make = lambda: EntmaxAttention(12, 3, 3, 12, Initialization("unit", 1), Precision(), alpha=None, rngs=nnx.Rngs(0))  # noqa: E731
    module = make()
    chex.assert_shape(module.alphas(), (3,))
    assert bool(((module.alphas() >= 1.01) & (module.alphas() <= 2)).all())
    graph, params = nnx.split(module)
    x = jnp.asarray(draw(5, 2, 11, 12))
    gradient = jax.grad(lambda p: (nnx.merge(graph, p)(x, P.Causal()) ** 2).sum())(params)
    assert bool((jnp.abs(gradient["alpha"].get_value()) > 0).all())
