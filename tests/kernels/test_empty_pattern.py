"""A pattern without a single live block is still an answer: zeros, minus infinity, zero gradients."""

import chex
import jax
import jax.numpy as jnp

import efficient_attn as ea


def test_a_pattern_that_allows_nothing():
    query, key, value = jax.random.normal(jax.random.key(0), (3, 2, 131, 3, 7))
    pattern = ea.patterns.Prefix(0)
    assert pattern.block_mask(131, 131).active_blocks == 0
    output, lse = ea.attend(query, key, value, pattern, return_lse=True, implementation="xla")
    chex.assert_shape((output, lse), [(2, 131, 3, 7), (2, 131, 3)])
    assert not output.any() and jnp.isneginf(lse).all()
    gradient = jax.grad(lambda q: ea.attend(q, key, value, pattern, implementation="xla").sum())(query)
    assert not gradient.any()
