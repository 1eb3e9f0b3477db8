"""The reversible stack against the same stack differentiated by JAX, and its memory against depth."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.ops.lsh import hash_vectors, lsh_attention
from efficient_attn.ops.reversible import reversible_stack

B, T, D = 2, 12, 6


def mix(parameters, x, shared, memo):
    update = jnp.tanh(jnp.cumsum(x @ parameters["kernel"], axis=1) * shared["scale"])
    return jnp.where(shared["mask"][..., None], update, 0), memo


def noisy(parameters, x, shared, memo):
    noise = jax.random.bernoulli(parameters["key"], 0.8, x.shape)
    return jax.nn.relu(x @ parameters["kernel"]) * noise, memo


def hashed(parameters, x, shared, memo):
    heads = (x @ parameters["kernel"])[:, :, None]
    buckets = hash_vectors(heads, parameters["rotations"]) if memo is None else memo
    found = lsh_attention(heads, heads, rotations=parameters["rotations"], chunk=4, causal=True, buckets=buckets)
    return found[:, :, 0], buckets


def plain(branches, parameters, streams, shared):
    a, b = streams
    for layer in range(jax.tree.leaves(parameters)[0].shape[0]):
        for branch, p in zip(branches, parameters, strict=True):
            a, b = b, a + branch(jax.tree.map(lambda x, layer=layer: x[layer], p), b, shared, None)[0]
    return a, b


def kernels(seed, depth, dtype=jnp.float64, width=D):
    return jax.random.normal(jax.random.key(seed), (depth, width, width), dtype) * 0.3


def case(name, depth, dtype=jnp.float64):
    mixing = {"kernel": kernels(0, depth, dtype)}
    random = {"kernel": kernels(1, depth, dtype), "key": jax.random.split(jax.random.key(2), depth)}
    rotations = jax.random.normal(jax.random.key(3), (depth, 1, D, 2, 2), dtype)
    hashing = {"kernel": kernels(4, depth, dtype), "rotations": rotations}
    return {
        "two": ((mix, noisy), (mixing, random)),
        "three": ((mix, noisy, mix), (mixing, random, mixing)),
        "hashed": ((hashed, noisy), (hashing, random)),
    }[name]


def inputs(dtype=jnp.float64):
    x = jax.random.normal(jax.random.key(5), (B, T, D), dtype)
    shared = {"scale": jnp.asarray(0.7, dtype), "mask": jnp.arange(T) < jnp.array([[T], [7]])}
    return (x, x + 1), shared


@pytest.mark.parametrize("name,tolerance", [("two", 1e-9), ("three", 1e-9), ("hashed", 1e-5)])
def test_results_and_gradients_are_those_of_the_plain_stack(name, tolerance):
    with jax.enable_x64(True):
        (branches, parameters), (streams, shared) = case(name, 3), inputs()

        def loss(run, floats, streams, scale):
            own = tuple(p | f for p, f in zip(parameters, floats, strict=True))
            first, second = run(branches, own, streams, shared | {"scale": scale})
            return (jnp.sin(first) + second**2).sum()

        arguments = tuple({"kernel": p["kernel"]} for p in parameters), streams, shared["scale"]
        found, expected = (
            jax.jit(jax.value_and_grad(lambda *a, run=run: loss(run, *a), (0, 1, 2)))(*arguments)
            for run in (reversible_stack, plain)
        )
        chex.assert_trees_all_close(found, expected, atol=tolerance, rtol=tolerance)


def test_float32_eager_and_vmap_agree_with_jit():
    (branches, parameters), (streams, shared) = case("two", 3, jnp.float32), inputs(jnp.float32)
    found = reversible_stack(branches, parameters, streams, shared)
    chex.assert_trees_all_close(jax.jit(lambda s: reversible_stack(branches, parameters, s, shared))(streams), found)
    single = (branches[0], branches[0]), (parameters[0], parameters[0])
    whole = reversible_stack(*single, streams, {"scale": 0.7 * jnp.ones(()), "mask": jnp.ones((1, T), bool)})
    rows = jax.vmap(
        lambda a, b: jax.tree.map(
            lambda x: x[0],
            reversible_stack(
                *single, (a[None], b[None]), {"scale": 0.7 * jnp.ones(()), "mask": jnp.ones((1, T), bool)}
            ),
        )
    )(*streams)
    chex.assert_trees_all_close(rows, whole, atol=1e-6)


def test_branches_may_compute_in_bfloat16_while_the_streams_stay_wide():
    low = lambda p, x, shared, memo: (jnp.tanh(x.astype(jnp.bfloat16) @ p.astype(jnp.bfloat16)), memo)  # noqa: E731
    kernel, streams = kernels(0, 4, jnp.float32), inputs(jnp.float32)[0]
    grads = [
        jax.grad(lambda k, run=run: (run((low, low), (k, k), streams, None)[1] ** 2).sum())(kernel)
        for run in (reversible_stack, plain)
    ]
    chex.assert_type(grads[0], jnp.float32)
    chex.assert_trees_all_close(*grads, rtol=5e-2, atol=5e-1)


def temporaries(run, depth, width=64, tokens=512):
    def branch(kernel, x, shared, memo):
        return jnp.tanh(jnp.tanh(x @ kernel) @ kernel.T), memo

    def loss(kernel, x):
        return run((branch, branch), (kernel, kernel), (x, x), None)[1].sum()

    shapes = (
        jax.ShapeDtypeStruct((depth, width, width), jnp.float32),
        jax.ShapeDtypeStruct((4, tokens, width), jnp.float32),
    )
    compiled = jax.jit(jax.grad(loss)).lower(*shapes).compile()
    # Both branches share one kernel, so one more set of its gradients is alive.
    return compiled.memory_analysis().temp_size_in_bytes - 2 * depth * width * width * 4


def test_memory_of_the_gradient_does_not_grow_with_depth():
    found = [temporaries(reversible_stack, depth) for depth in (4, 8, 16)]
    np.testing.assert_allclose(found, found[0], rtol=0.05)
    assert temporaries(plain, 16) > 4 * found[2]


@pytest.mark.parametrize(
    "change,message",
    [
        ({"branches": ()}, "got 0 branches and 1 trees"),
        ({"streams": (jnp.ones(3, jnp.bfloat16),) * 2}, "float32 or wider, got bfloat16"),
        ({"streams": (jnp.ones(3), jnp.ones(4))}, r"got float32 \(3,\) and float32 \(4,\)"),
        ({"parameters": ({"a": jnp.ones(3), "b": jnp.ones(4)},)}, "same first axis"),
    ],
)
def test_bad_input(change, message):
    arguments = {"branches": (mix,), "parameters": ({"a": jnp.ones(3)},), "streams": (jnp.ones(3), jnp.ones(3))}
    with pytest.raises(ValueError, match=message):
        reversible_stack(**(arguments | change))
