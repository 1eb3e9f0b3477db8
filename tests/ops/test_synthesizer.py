"""Synthesized scores against loops over the equations, and attention with them against a dense softmax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops import synthesizer
from efficient_attn.patterns import Causal, Full

B, T, N, H, D, LONGEST = 2, 7, 3, 5, 11, 13


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_dense_rows_are_a_two_layer_network_of_their_own_token():
    x, w1, w2, b1, b2 = draw(0, B, T, D), draw(1, D, N, H), draw(2, N, H, LONGEST), draw(3, N, H), draw(4, N, LONGEST)
    found = synthesizer.dense_logits(x, w1, w2, length=T, hidden_bias=b1, output_bias=b2)
    for n in range(N):
        row = np.maximum(x[1, 4] @ w1[:, n] + b1[n], 0) @ w2[n] + b2[n]
        np.testing.assert_allclose(found[1, n, 4], row[:T], rtol=2e-5, atol=2e-5)
    shared = synthesizer.dense_logits(x, w1, w2[0], length=T, output_bias=b2[0])
    each = synthesizer.dense_logits(x, w1, jnp.stack([w2[0]] * N), length=T, output_bias=jnp.stack([b2[0]] * N))
    chex.assert_trees_all_close(shared, each, atol=1e-5)
    depends = jax.jacobian(lambda x: synthesizer.dense_logits(x, w1, w2, length=T).sum((0, 1, 3)))(x)
    others = ~np.eye(T, dtype=bool)
    np.testing.assert_array_equal(np.abs(depends).sum((1, 3))[others], 0)


def test_factorized_dense_meets_every_pair_of_the_two_factors():
    x, w = draw(0, B, T, D), draw(1, D, N, H)
    first, second = draw(2, N, H, 4), draw(3, N, H, 2)
    found = synthesizer.factorized_dense_logits(x, w, first, second, length=T)
    hidden = np.maximum(np.einsum("btd,dnh->bnth", x, w), 0)
    a, b = np.einsum("bnth,nhl->bntl", hidden, first), np.einsum("bnth,nhl->bntl", hidden, second)
    for j in range(T):
        np.testing.assert_allclose(found[..., j], a[..., j % 4] * b[..., j // 4], rtol=1e-4, atol=1e-4)


def test_random_scores_are_the_corner_of_the_table_and_decode_row_by_row():
    table, left, right = draw(0, N, LONGEST, LONGEST), draw(1, N, LONGEST, 8), draw(2, N, LONGEST, 8)
    found = synthesizer.random_logits(table, query_length=T, key_length=T)
    np.testing.assert_array_equal(found, table[:, :T, :T])
    product = np.asarray(left) @ np.swapaxes(right, 1, 2)
    factorized = synthesizer.factorized_random_logits(left, right, query_length=T, key_length=T)
    np.testing.assert_allclose(factorized, product[:, :T, :T], atol=1e-5)
    step = jax.jit(
        lambda t: (
            synthesizer.random_logits(table, query_length=1, key_length=T, first_query=t),
            synthesizer.factorized_random_logits(left, right, query_length=1, key_length=T, first_query=t),
        )
    )
    for t in (0, 4):
        np.testing.assert_allclose(step(t)[0], found[:, t : t + 1], atol=1e-6)
        np.testing.assert_allclose(step(t)[1], factorized[:, t : t + 1], atol=1e-5)
    frozen = jax.grad(lambda r: synthesizer.random_logits(jax.lax.stop_gradient(r), query_length=T, key_length=T).sum())
    np.testing.assert_array_equal(frozen(table), 0)


def test_mixtures_weigh_scores_with_shares_that_sum_to_one():
    batched, table, weights = draw(0, B, N, T, T), draw(1, N, T, T), draw(2, 2, N)
    shares = np.exp(weights) / np.exp(weights).sum(0)
    found = synthesizer.mix_logits([batched, table], weights)
    for n in range(N):
        np.testing.assert_allclose(found[:, n], shares[0, n] * batched[:, n] + shares[1, n] * table[n], atol=1e-5)
    one = synthesizer.mix_logits([batched, batched], jnp.zeros((2, 1)))
    np.testing.assert_allclose(one, batched, atol=1e-6)


@pytest.mark.parametrize("pattern", [Causal(), Full()])
@pytest.mark.parametrize("batched", [True, False])
def test_attention_with_given_scores_and_its_gradients(pattern, batched):
    logits = draw(0, B, N, T, T) if batched else draw(0, N, T, T)
    value, mask = draw(1, B, T, 1, H), jnp.arange(T) < jnp.array([[T], [4]])

    def oracle(logits, value):
        visible = pattern.dense(T, T) & mask[:, None, None, :]
        weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf), axis=-1)
        return jnp.einsum("bnts,bsh->btnh", weights, value[:, :, 0])

    found = jax.jit(lambda *a: synthesizer.synthesized_attention(*a, pattern, key_mask=mask))
    chex.assert_trees_all_close(found(logits, value), oracle(logits, value), atol=1e-5)
    grads = [jax.grad(lambda *a, f=f: (f(*a) ** 2).sum(), (0, 1))(logits, value) for f in (found, oracle)]
    chex.assert_trees_all_close(*grads, atol=1e-4)


def test_hidden_batch_rows_bfloat16_and_vmap():
    logits, value = draw(0, B, N, T, T), draw(1, B, T, N, H)
    none = synthesizer.synthesized_attention(logits, value, Full(), key_mask=jnp.zeros((B, T), bool))
    np.testing.assert_array_equal(none, 0)
    low = synthesizer.synthesized_attention(logits.astype(jnp.bfloat16), value.astype(jnp.bfloat16), Full())
    full = synthesizer.synthesized_attention(logits, value, Full())
    chex.assert_type(low, jnp.bfloat16)
    chex.assert_trees_all_close(low.astype(jnp.float32), full, atol=5e-2)
    rows = jax.vmap(lambda s, v: synthesizer.synthesized_attention(s[None], v[None], Full())[0])(logits, value)
    chex.assert_trees_all_close(rows, full, atol=1e-5)


@pytest.mark.parametrize(
    "call,message",
    [
        (
            lambda: synthesizer.dense_logits(draw(0, 1, T, D), draw(1, D, N, H), draw(2, N, H, 6), length=7),
            "1 to 6 positions, got a length of 7",
        ),
        (
            lambda: synthesizer.factorized_dense_logits(
                draw(0, 1, T, D), draw(1, D, N, H), draw(2, H, 3), draw(3, H, 2), length=7
            ),
            "1 to 6 positions, got a length of 7",
        ),
        (
            lambda: synthesizer.random_logits(draw(0, N, 6, 6), query_length=2, key_length=6, first_query=5),
            "1 to 6 positions, got a length of 7",
        ),
        (lambda: synthesizer.mix_logits([draw(0, N, T, T)] * 3, draw(1, 2, N)), "each of 3 kinds, got 2"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
