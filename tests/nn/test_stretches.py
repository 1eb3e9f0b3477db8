"""Stretches of tokens give what all tokens give, with the same gradients and in less memory."""

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

from efficient_attn.nn.stretches import over_stretches

X, Y = jax.random.normal(jax.random.key(0), (2, 11, 5)), jnp.linspace(0.0, 1.0, 22).reshape(2, 11)


def network(x, y, none):
    assert none is None
    return jnp.tanh(x).sum(-1) * y


@pytest.mark.parametrize("stretch", [1, 4, 11, 100])
def test_values_and_gradients(stretch):
    run = lambda stretch: jax.value_and_grad(lambda x: over_stretches(network, stretch, x, Y, None).sum())(X)  # noqa: E731
    chex.assert_trees_all_close(run(stretch), run(None), atol=1e-6)
    chex.assert_shape(over_stretches(network, stretch, X, Y, None), (2, 11))


def test_memory_is_that_of_a_stretch():
    def temporaries(stretch):
        wide = lambda x: jnp.tanh(jnp.repeat(x, 64, axis=-1)).sum(-1)  # noqa: E731
        loss = lambda x: over_stretches(wide, stretch, x).sum()  # noqa: E731
        x = jax.ShapeDtypeStruct((1, 4096, 32), jnp.float32)
        return jax.jit(jax.grad(lambda x: (loss(x) ** 2).sum())).lower(x).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(256) < temporaries(None) / 4


def test_stretches_of_a_sharded_text_are_cut_on_each_device():
    mesh = jax.make_mesh((2, 4), ("data", "sequence"), axis_types=(AxisType.Auto,) * 2)
    x, y = jax.random.normal(jax.random.key(1), (2, 44, 5)), jnp.linspace(0.0, 1.0, 88).reshape(2, 44)
    run = jax.jit(jax.value_and_grad(lambda x, y: (over_stretches(network, 4, x, y, None) ** 2).sum()))
    one = run(x, y)
    with jax.set_mesh(mesh):
        lying = jax.device_put((x, y), jax.NamedSharding(mesh, jax.P("data", "sequence")))
        compiled = run.lower(*lying).compile()
        chex.assert_trees_all_close(compiled(*lying), one, rtol=1e-5, atol=1e-6)
    # The sum alone is sent.
    text = compiled.as_text()
    assert "all-reduce(" in text
    assert not any(f"{kind}(" in text for kind in ("all-gather", "all-to-all", "collective-permute"))
