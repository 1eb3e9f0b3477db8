"""Tokens to their experts over eight devices: the numbers of one, by all-to-all alone, as by constraints."""

import functools
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import Experts
from efficient_attn.nn import groups, moe
from efficient_attn.nn.initializers import Initialization
from efficient_attn.precision import Precision
from efficient_attn.recipe import Mesh
from efficient_attn.sharding import STREAM, constrain, fitting

WIDTH = 6
X = jax.random.normal(jax.random.key(0), (8, 16, WIDTH))
VALID = jnp.arange(16) < jnp.arange(9, 17)[:, None]
# Second choices are drawn, and experts that have room for half of all drop some.
EXPERTS = Experts(number=4, group=8, capacity_factor=1.0, hidden=12)
MESHES = {
    "experts": Mesh(data=2, expert=4),
    "tokens": Mesh(data=4, sequence=2),
    "tokens and experts": Mesh(data=2, expert=2, sequence=2),
    "tokens, experts and features": Mesh(data=1, expert=2, model=2, sequence=2),
}


def mixed(mesh: Mesh):
    """What a mixture makes of tokens that lie as a residual stream, what was seen of routing, and gradients; and the program."""
    form, module = nnx.split(
        moe.MoE(EXPERTS, WIDTH, 24, "relu", Initialization("code", 1), Precision(), rngs=nnx.Rngs(0))
    )

    def loss(module, x):
        y, seen = nnx.merge(form, module).routed(constrain(x, fitting(STREAM, x.shape)), VALID, jax.random.key(1))
        y = constrain(y, fitting(STREAM, x.shape))
        return jnp.sum(jnp.sin(y)), (y, seen)

    placement = mesh.placement(jax.devices()[: mesh.data * mesh.expert * mesh.model * mesh.sequence])
    with jax.set_mesh(placement.mesh):
        x = jax.device_put(X, jax.NamedSharding(placement.mesh, jax.P(("data", "expert"), "sequence")))
        compiled = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True)).lower(module, x).compile()
        return jax.device_get(compiled(module, x)), compiled.as_text()


@functools.cache
def on_one():
    return mixed(Mesh(data=1))[0]


def close(found, expected):
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mesh", MESHES)
def test_rows_are_gathered_nowhere(mesh):
    found, text = mixed(MESHES[mesh])
    assert on_one()[0][1][1].dropped > 0
    close(found, on_one())
    # There and back, and both ways again for gradients; a tuple of arrays, and not one array, may be what is sent.
    sent = text.count(" all-to-all(") + text.count(" all-to-all-start(")
    assert sent == (4 if MESHES[mesh].expert > 1 else 0)
    assert "all-gather" not in text and "collective-permute" not in text


def test_groups_of_more_tokens_than_a_device_has():
    with mock.patch.object(Experts, "group_size", lambda self, tokens: tokens):
        expected, found = (mixed(mesh)[0] for mesh in (Mesh(data=1), MESHES["tokens and experts"]))
    close(found, expected)


def by_constraint(before: jax.P, after: jax.P):
    def exchanged(rows):
        return constrain(constrain(rows, fitting(before, rows.shape)), fitting(after, rows.shape))

    return exchanged


@pytest.mark.parametrize("mesh", ["experts", "tokens and experts"])
def test_constraints_before_and_after_say_the_same(mesh):
    sent = by_constraint(groups._GROUPS, groups._EXPERTS), by_constraint(groups._EXPERTS, groups._GROUPS)
    with mock.patch.object(moe, "to_experts", sent[0]), mock.patch.object(moe, "to_groups", sent[1]):
        found, _ = mixed(MESHES[mesh])
    for ours, theirs in zip(jax.tree.leaves(mixed(MESHES[mesh])[0]), jax.tree.leaves(found), strict=True):
        np.testing.assert_array_equal(ours, theirs)
