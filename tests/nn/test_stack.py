"""A stack: the scan over cycles equals a loop over layers, whatever the depth, and recomputation changes no gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn import Block, FeedForward, SelfAttention, Stack
from efficient_attn.nn.cache import empty_cache
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.stack import matrices
from efficient_attn.patterns.expression import parse
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast

WIDTH, LENGTH = 12, 11
PATTERNS = tuple(map(parse, ("Causal() & Window(left=2)", "Causal() & Strided(3)")))
X = jax.random.normal(jax.random.key(5), (2, LENGTH, WIDTH))


def make_block(_, rngs):
    init, precision = Initialization("code", 1), Precision()
    attention = SelfAttention(WIDTH, 3, 3, WIDTH, init, precision, rngs=rngs)
    return Block(attention, FeedForward(WIDTH, 17, "gelu", init, precision, rngs=rngs), "pre", WIDTH, rngs=rngs)


def stack(depth, remat="none", patterns=PATTERNS):
    return Stack(make_block, depth, patterns, remat, jax.random.key(0))


def layers(module):
    """All blocks in order."""
    cycles = module.cycle[0].attention.query.kernel.shape[0] if module.cycle else 0
    cycled = [jax.tree.map(lambda a, c=c: a[c], place) for c in range(cycles) for place in module.cycle]
    return cycled + list(module.rest)


@pytest.mark.parametrize(("depth", "dropout"), [(1, 0.3), (5, 0.0), (5, 0.3), (12, 0.3)])
def test_the_scan_equals_a_loop(depth, dropout):
    module = stack(depth)
    blocks = layers(module)
    assert len(blocks) == depth
    keys = jax.random.split(jax.random.key(7), depth)
    apply = [jax.jit(lambda block, x, key, p=p: block(x, p, dropout, key)) for p in PATTERNS]
    x = X
    for number, (block, key) in enumerate(zip(blocks, keys, strict=True)):
        x = apply[number % 2](block, x, key)
    found = jax.jit(lambda module, x, key: module(x, dropout, key))(module, X, jax.random.key(7))
    chex.assert_equal_shape([found, X])
    np.testing.assert_allclose(found, x, atol=1e-5)


def test_every_layer_has_its_own_parameters():
    kernels = [float(block.attention.query.kernel[0, 0]) for block in layers(stack(5))]
    assert len(set(kernels)) == 5


@pytest.mark.parametrize("depth", [5])
def test_recomputation_changes_no_gradient(depth):
    def gradient(remat):
        graph, state = nnx.split(stack(depth, remat))
        loss = lambda state: (nnx.merge(graph, state)(X, 0.3, jax.random.key(1)) ** 2).sum()  # noqa: E731
        return nnx.to_pure_dict(jax.jit(jax.grad(loss))(state))

    none = gradient("none")
    chex.assert_tree_all_finite(none)
    for remat in ("block", "products", "offloaded"):
        chex.assert_trees_all_close(none, gradient(remat), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("depth", [5])
def test_steps_equal_rows(depth):
    module = stack(depth)
    caches = module.init_caches(lambda *_: empty_cache(LENGTH, 2, 3, (4, 4), jnp.float32))
    rows = []
    step = jax.jit(lambda x, caches, position: module.step(x, caches, position, (position, position)))
    for position in range(LENGTH):
        row, caches = step(X[:, position : position + 1], caches, jnp.asarray(position))
        rows.append(row)
    np.testing.assert_allclose(jnp.concatenate(rows, 1), module(X, 0.0, None), atol=1e-5)


def test_caches_are_stacked_as_the_layers_are():
    cycled, rest = stack(5).init_caches(lambda *_: empty_cache(7, 2, 3, (4, 5), jnp.float32))
    assert [cache.value.shape for cache in cycled] == [(2, 2, 7, 15)] * 2
    assert [cache.value.shape for cache in rest] == [(2, 7, 15)]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_decay_spares_biases_and_gains_however_many_layers_share_an_array(depth):
    params = nnx.to_pure_dict(nnx.split(stack(depth))[1])
    marked = {
        jax.tree_util.keystr(path[-1:]): mark for path, mark in jax.tree_util.tree_leaves_with_path(matrices(params))
    }
    assert marked == {"['kernel']": True, "['bias']": False, "['scale']": False}
