"""Routing that drops nothing: rows in blocks of their experts, and grouped products, against every expert on every token."""

import functools
import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficient_attn.ops import routing
from efficient_attn.ops.routing import grouped
from efficient_attn.planning import topology
from efficient_attn.planning.flops import product_flops

pytestmark = pytest.mark.fast

GROUPS, TOKENS, WIDTH, HIDDEN = 2, 11, 5, 7


def drawn(seed, experts, balance, valid_share=1.0, router=routing.top2):
    """Tokens, their choices, and the matrices of experts; all tokens ask for the last experts where the balance is "one"."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(GROUPS, TOKENS, experts)).astype(np.float32)
    if balance == "one":
        logits[..., -2:] += 30.0 * np.arange(1, 3)
    valid = jnp.asarray(rng.random((GROUPS, TOKENS)) < valid_share)
    x = jnp.asarray(rng.normal(size=(GROUPS, TOKENS, WIDTH)), jnp.float32)
    matrices = [
        jnp.asarray(rng.normal(size=(experts, *size)), jnp.float32) for size in ((WIDTH, HIDDEN), (HIDDEN, WIDTH))
    ]
    return x, router(jnp.asarray(logits), valid=valid), matrices


def dense(x, gate, matrices, choices):
    """Every expert on every token, and those that count."""
    hidden = jax.nn.gelu(jnp.einsum("gsd,edf->egsf", x, matrices[0]))
    each = jnp.einsum("egsf,efd->gsed", hidden, matrices[1])
    chosen = jnp.take_along_axis(each, choices.expert[..., None], axis=2)
    return jnp.einsum("gskd,gsk->gsd", chosen, jnp.where(choices.wanted, gate, 0.0))


def in_blocks(x, gate, matrices, choices, size):
    blocks = routing.place_in_blocks(choices, matrices[0].shape[0], size)
    rows = routing.dispatch_to_blocks(x, blocks, size)
    hidden = jax.nn.gelu(routing.grouped_product(rows, matrices[0], blocks))
    rows = routing.grouped_product(hidden, matrices[1], blocks)
    return routing.combine_from_blocks(rows, choices._replace(gate=gate), blocks)


@functools.partial(jax.jit, static_argnums=(0, 1))
def with_gradients(layer, size, x, choices, matrices):
    def loss(x, gate, matrices):
        y = layer(x, gate, matrices, choices, *([size] if size else []))
        return jnp.sum(jnp.sin(y)), y

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(x, choices.gate, matrices)


def check(seed, experts, size, balance, valid_share, router):
    x, choices, matrices = drawn(seed, experts, balance, valid_share, router)
    found = with_gradients(in_blocks, size, x, choices, matrices)
    expected = with_gradients(dense, 0, x, choices, matrices)
    for mine, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))


CASES = (
    st.integers(0, 2**31 - 1),
    st.sampled_from([3, 29]),
    st.sampled_from([2, 16]),
    st.sampled_from(["drawn", "one"]),
    st.sampled_from([1.0, 0.7, 0.0]),
    st.sampled_from([routing.top2, routing.switch]),
)


@settings(max_examples=12, deadline=None)
@given(*CASES)
def test_the_layer_is_the_dense_one(seed, experts, size, balance, valid_share, router):
    check(seed, experts, size, balance, valid_share, router)


@pytest.mark.fuzz
@settings(max_examples=1000, deadline=None)
@given(*CASES)
def test_the_layer_is_the_dense_one_fuzz(seed, experts, size, balance, valid_share, router):
    check(seed, experts, size, balance, valid_share, router)


@pytest.mark.parametrize("balance, valid_share", [("drawn", 1.0), ("one", 1.0), ("drawn", 0.6)])
@pytest.mark.parametrize("size", [1, 4, 64])
def test_no_choice_is_without_a_row_and_no_block_has_two_experts(balance, valid_share, size):
    _, choices, _ = drawn(0, 5, balance, valid_share)
    blocks = routing.place_in_blocks(choices, 5, size)
    home, wanted = np.asarray(blocks.home), np.asarray(choices.wanted)
    assert np.array_equal(home >= 0, wanted)
    assert len(set(home[wanted])) == wanted.sum()
    np.testing.assert_array_equal(blocks.expert[home[wanted] // size], choices.expert[wanted])
    asking = np.bincount(np.asarray(choices.expert)[wanted], minlength=5)
    np.testing.assert_array_equal(blocks.counts, -(-asking // size))
    assert blocks.counts.sum() <= blocks.expert.size


def test_rows_of_an_expert_lie_in_order_of_their_tokens():
    _, choices, _ = drawn(1, 3, "drawn")
    home = np.asarray(routing.place_in_blocks(choices, 3, 4).home).reshape(-1)
    expert = np.asarray(choices.expert).reshape(-1)
    assert all(np.all(np.diff(home[expert == e]) > 0) for e in range(3))


@pytest.mark.parametrize("choices, experts, size", [(16_384, 64, 128), (16_384, 512, 16), (2, 64, 16), (10**6, 2, 128)])
def test_sizes_of_blocks(choices, experts, size):
    assert routing.block_size(choices, experts) == size


def test_the_work_grows_with_the_rows_and_not_with_the_experts():
    def flops(experts):
        x, choices, matrices = jax.eval_shape(lambda: drawn(0, experts, "drawn"))
        layer = lambda *arrays: with_gradients(in_blocks, 1, *arrays)[1]  # noqa: E731
        return product_flops(jax.make_jaxpr(layer)(x, choices, matrices))

    # Two products, forward and for two gradients each; blocks of one row are as many as there are choices.
    once = 2 * GROUPS * TOKENS * 2 * WIDTH * HIDDEN
    gates = 2 * GROUPS * TOKENS * 2 * WIDTH
    assert flops(3) == flops(200) == 2 * 3 * once + 3 * gates


def test_no_copy_of_a_matrix_for_each_block():
    x, choices, matrices = drawn(0, 3, "drawn")
    matrices = [jnp.zeros((3, WIDTH, 4096)), jnp.zeros((3, 4096, WIDTH))]
    compiled = with_gradients.lower(in_blocks, 4, x, choices, matrices).compile()
    one, blocks = 4 * WIDTH * 4096, routing.place_in_blocks(choices, 3, 4).expert.size
    hidden = 4 * blocks * 4 * 4096
    # Hidden rows, before and after the activation and their gradients; sums of two gradients in float32.
    assert compiled.memory_analysis().temp_size_in_bytes < 5 * hidden + 2 * 3 * one + blocks * one


@pytest.mark.parametrize("balance", ["drawn", "one"])
def test_the_kernel_of_tpus_interpreted(balance):
    rng, size, experts = np.random.default_rng(0), 16, 5
    _, choices, _ = drawn(0, experts, balance)
    blocks = routing.place_in_blocks(choices, experts, size)
    length = size * blocks.expert.size
    used = np.repeat(np.arange(blocks.expert.size) < blocks.counts.sum(), size)[:, None]
    assert not used.all()
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)  # noqa: E731
    rows, matrices, gradient = draw(length, 96) * used, draw(experts, 96, 160), draw(length, 160) * used
    np.testing.assert_allclose(
        grouped.product_by_kernel(rows, matrices, blocks, interpret=True),
        grouped.product_by_blocks(rows, matrices, blocks),
        atol=1e-4,
    )
    found = grouped.gradients_by_kernel(rows, matrices, blocks, gradient, interpret=True)
    expected = grouped.gradients_by_blocks(rows, matrices, blocks, gradient)
    for mine, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu")
def test_the_kernel_is_compiled_for_a_tpu_where_ragged_products_are_dense():
    device = topology("v5e:2x2")[1][0]
    experts, choices, width, hidden = 8, 2048, 256, 512
    size = routing.block_size(choices, experts)
    count = (choices + experts * (size - 1)) // size
    shapes = {"home": (1, choices // 2, 2), "expert": (count,), "counts": (experts,)}
    lying = jax.sharding.SingleDeviceSharding(device)
    of = lambda shape, kind: jax.ShapeDtypeStruct(shape, kind, sharding=lying)  # noqa: E731
    integers = {name: of(shape, jnp.int32) for name, shape in shapes.items()}

    def loss(rows, matrices, integers):
        product = routing.grouped_product(rows, matrices, routing.Blocks(**integers))
        return jnp.sum(jnp.square(product.astype(jnp.float32)))

    arrays = of((count * size, width), jnp.bfloat16), of((experts, width, hidden), jnp.bfloat16)
    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(*arrays, integers).compile()
    assert compiled.as_text().count("tpu_custom_call") == 3
    # Three products of all rows there are, filled up to blocks; every expert on every row would be eight times as many.
    assert compiled.cost_analysis()["flops"] < 1.2 * 3 * 2 * count * size * width * hidden
