"""A reversible stack: the sums of the paper, their gradients, memory, and one token at a time."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn import patterns as P
from efficient_attn.models import LSH
from efficient_attn.nn import Block, FeedForward
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.mechanisms import MODULES
from efficient_attn.nn.reversible_stack import ReversibleStack
from efficient_attn.precision import Precision

WIDTH, HEADS, LENGTH = 12, 3, 11
ATTENTION = LSH(chunk=4, buckets=(4,), rounds=2, layers=("lsh", "Causal() & NearChunks(4)"))


def make_block(place, rngs):
    init, precision = Initialization("unit", 1), Precision()
    attention = MODULES[LSH](ATTENTION, place)(WIDTH, HEADS, HEADS, WIDTH, init, precision, rngs=rngs)
    return Block(attention, FeedForward(WIDTH, 17, "gelu", init, precision, rngs=rngs), "pre", WIDTH, rngs=rngs)


def stack(depth):
    return ReversibleStack(make_block, depth, ATTENTION.parsed(), "none", jax.random.key(0))


def layers(module):
    cycles = module.cycle[0].attention.output.kernel.shape[0] if module.cycle else 0
    cycled = [jax.tree.map(lambda a, c=c: a[c], place) for c in range(cycles) for place in module.cycle]
    return cycled + list(module.rest)


def by_layers(module, x, dropout, key, given):
    """The paper's sums, layer by layer, with nothing rebuilt."""
    blocks = layers(module)
    keys = [None] * len(blocks) if key is None else jax.random.split(key, len(blocks))
    first, second = x, x
    for number, (block, own) in enumerate(zip(blocks, keys, strict=True)):
        a, b = (None, None) if own is None else jax.random.split(own)
        drawn = None if own is None else jax.random.fold_in(a, 1)
        pattern = ATTENTION.parsed()[number % 2]
        mixed, _ = block.attention.recalled(block.attention_norm(second), pattern, drawn, given, None)
        first = first + drop(mixed, dropout, a)
        second = second + drop(block.feedforward(block.feedforward_norm(first)), dropout, b)
    return jnp.concatenate([first, second], -1)


@pytest.mark.parametrize(("depth", "dropout", "key"), [(1, 0.0, None), (5, 0.3, 7)])
def test_results_and_gradients_are_those_of_the_sums(depth, dropout, key):
    x = jax.random.normal(jax.random.key(5), (2, LENGTH, WIDTH))
    key = None if key is None else jax.random.key(key)
    given = Given(key_mask=jnp.arange(LENGTH) < jnp.array([[LENGTH], [7]]))
    graph, state = nnx.split(stack(depth))

    def loss(run):
        def of(state, x):
            output = run(nnx.merge(graph, state), x, dropout, key, given)
            return (jnp.sin(output) * given.key_mask[..., None]).sum()

        return jax.jit(jax.value_and_grad(of, (0, 1)))

    found = loss(lambda module, *arguments: module(*arguments))(state, x)
    expected = loss(by_layers)(state, x)
    chex.assert_tree_all_finite(found)
    chex.assert_trees_all_close(*(nnx.to_pure_dict(g[1][0]) for g in (found, expected)), atol=2e-4, rtol=1e-3)
    chex.assert_trees_all_close((found[0], found[1][1]), (expected[0], expected[1][1]), atol=2e-4, rtol=1e-3)


def test_steps_equal_rows_while_one_chunk_holds_the_text():
    module, length = stack(3), 4
    x = jax.random.normal(jax.random.key(5), (2, length, WIDTH))
    rows = module(x, 0.0, None)
    chex.assert_shape(rows, (2, length, 2 * WIDTH))
    caches = module.init_caches(lambda attention, _: attention.empty_cache(2, length))
    step = jax.jit(lambda module, x, caches, position: module.step(x, caches, position, (position, position)))
    for position in range(length):
        found, caches = step(module, x[:, position : position + 1], caches, jnp.asarray(position))
        np.testing.assert_allclose(found[:, 0], rows[:, position], atol=1e-5, err_msg=f"position {position}")


def temporaries(depth):
    """Bytes of a gradient's temporaries; the gradients of the parameters are results."""
    graph, state = jax.eval_shape(lambda: nnx.split(stack(depth)))
    loss = lambda state, x: nnx.merge(graph, state)(x, 0.1, jax.random.key(0)).sum()  # noqa: E731
    x = jax.ShapeDtypeStruct((4, 512, WIDTH), jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(state, x).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_the_gradient_grows_by_the_buckets_only():
    shallow, deep = temporaries(4), temporaries(16)
    buckets = (16 - 4) // 2 * 4 * 512 * HEADS * 2 * 4
    assert deep - buckets < 1.05 * shallow


def test_a_pattern_that_hashing_cannot_follow_is_refused():
    x = jnp.zeros((1, LENGTH, WIDTH))
    with pytest.raises(ValueError, match="over Causal"):
        stack(2)(x, 0.0, None, patterns=(P.Window(3), P.Causal()))
