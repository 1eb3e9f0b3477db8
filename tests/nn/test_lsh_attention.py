"""The module around LSH attention: its parameters, its randomness, and one token at a time."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType

from efficient_attn import patterns as P
from efficient_attn.models import LSH, DecoderConfig
from efficient_attn.nn.given import Given
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.lsh_attention import Hashing, LSHAttention
from efficient_attn.ops import lsh
from efficient_attn.precision import Precision

WIDTH, HEADS, LENGTH = 10, 2, 23
X = jax.random.normal(jax.random.key(1), (2, LENGTH, WIDTH))


def module(rotary=None, **hashing):
    hashing = Hashing(**{"chunk": 4, "buckets": (4,), "rounds": 2, **hashing})
    init, rngs = Initialization("unit", 1), nnx.Rngs(0)
    options = {"hashing": hashing, "rotary": rotary, "value_width": 6, "bias": False, "rngs": rngs}
    return LSHAttention(WIDTH, HEADS, HEADS, 8, init, Precision(), **options)


def run(layer, x=X, key=None, given=Given(), pattern=P.Causal()):  # noqa: B008
    return jax.jit(lambda layer, x, key, given: layer.recalled(x, pattern, key, given, None)[0])(layer, x, key, given)


def test_a_query_is_its_own_key_and_no_key_has_parameters():
    shapes = jax.tree.map(jnp.shape, nnx.to_pure_dict(nnx.split(module())[1]))
    assert shapes == {
        "query_key": {"kernel": (WIDTH, 8)},
        "value": {"kernel": (WIDTH, 6)},
        "output": {"kernel": (6, WIDTH)},
    }


def test_it_is_lsh_attention_between_projections():
    layer, mask = module(), jnp.arange(LENGTH) < jnp.array([[LENGTH], [17]])
    rotations = lsh.draw_rotations(jax.random.key(3), HEADS, 4, 3, (2, 4))
    found = run(layer, given=Given(key_mask=mask, rotations=rotations), pattern=P.Full())
    query, value = layer.query_key(X).reshape(2, LENGTH, HEADS, 4), layer.value(X).reshape(2, LENGTH, HEADS, 3)
    mixed = lsh.lsh_attention(query, value, rotations=rotations, chunk=4, causal=False, key_mask=mask)
    chex.assert_trees_all_close(found, layer.output(mixed.reshape(2, LENGTH, 6)), atol=1e-5)


def test_training_draws_rotations_and_evaluation_has_fixed_ones():
    layer = module(evaluation_rounds=3)
    first, second = run(layer, key=jax.random.key(0)), run(layer, key=jax.random.key(1))
    assert float(jnp.abs(first - second).max()) > 1e-3
    np.testing.assert_array_equal(run(layer), run(layer))
    fixed = lsh.draw_rotations(jax.random.key(0), HEADS, 4, 3, (4,))
    chex.assert_trees_all_close(run(layer), run(layer, given=Given(rotations=fixed)), atol=1e-6)


def test_buckets_recalled_are_not_hashed_again():
    layer = module()
    output, buckets = layer.recalled(X, P.Causal(), jax.random.key(5), Given(), None)
    chex.assert_shape(buckets, (2, LENGTH, HEADS, 2))
    again, same = layer.recalled(X, P.Causal(), jax.random.key(6), Given(), buckets)
    chex.assert_trees_all_close((output, buckets), (again, same), atol=1e-6)


def on_devices(layer, x, given, shape=None):
    """Output, buckets and gradients over a mesh of rows, tokens and heads, or on one device; and the program."""

    def loss(layer, x, given):
        output, buckets = layer.recalled(x, P.Causal(), None, given, None)
        return jnp.sin(output).sum(), (output, buckets)

    run = jax.jit(jax.grad(loss, (0, 1), has_aux=True))
    if shape is None:
        return run(layer, x, given), ""
    mesh = jax.make_mesh(shape, ("data", "sequence", "model"), axis_types=(AxisType.Auto,) * 3)
    with jax.set_mesh(mesh):
        x = jax.device_put(x, jax.NamedSharding(mesh, jax.P("data", "sequence")))
        compiled = run.lower(layer, x, given).compile()
        return compiled(layer, x, given), compiled.as_text()


@pytest.mark.parametrize("shape", [(2, 4, 1), pytest.param((2, 2, 2), marks=pytest.mark.slow)])
@pytest.mark.parametrize("masked", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_sharded_sequence_is_exchanged_for_heads(shape, masked):
    init, hashing = Initialization("unit", 1), Hashing(chunk=4, buckets=(4,), rounds=2)
    layer = LSHAttention(
        WIDTH, 4, 4, 24, init, Precision(), hashing=hashing, rotary=50.0, value_width=12, rngs=nnx.Rngs(0)
    )
    x = jax.random.normal(jax.random.key(2), (2, 24, WIDTH))
    given = Given(key_mask=jnp.arange(24) < jnp.array([[24], [17]]) if masked else None)
    one, _ = on_devices(layer, x, given)
    eight, text = on_devices(layer, x, given, shape)
    np.testing.assert_array_equal(eight[1][1], one[1][1])
    chex.assert_trees_all_close(eight, one, rtol=1e-5, atol=1e-5)
    # Queries, values and buckets to the heads and the result back; of the backward pass no more than again, and the gradients.
    assert 4 <= text.count(" all-to-all(") <= 10
    assert masked or "all-gather" not in text


@pytest.mark.parametrize("rotary", [None, 50.0])
@pytest.mark.parametrize("options", [{}, {"rounds": 1, "look_back": 0}, {"look_back": 2, "look_ahead": 1}])
def test_a_step_equals_the_last_row_of_the_text_so_far(options, rotary):
    layer = module(rotary, **options)
    step = jax.jit(lambda layer, x, cache, position: layer.step(x, P.Causal(), cache, position, position))
    cache = layer.empty_cache(2, LENGTH)
    for position in range(LENGTH):
        found, after = step(layer, X[:, position : position + 1], cache, jnp.asarray(position))
        chex.assert_trees_all_equal_shapes_and_dtypes(cache, after)
        cache = after
        if position in (0, 1, 3, 4, 8, 13, 22):
            whole = layer(X[:, : position + 1], P.Causal())
            np.testing.assert_allclose(found[:, 0], whole[:, -1], atol=1e-5, err_msg=f"position {position}")


def test_buckets_follow_the_length_unless_given():
    free = Hashing(chunk=64)
    assert [free.factors(n) for n in (64, 4096, 16384, 65536)] == [(2,), (128,), (16, 32), (32, 64)]
    assert Hashing(buckets=(6, 4)).factors(10_000) == (6, 4)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Hashing(buckets=(4, 3)), "buckets must be even numbers"),
        (lambda: Hashing(rounds=0), "rounds must be at least 1, got 0"),
        (lambda: Hashing(evaluation_rounds=0), "evaluation_rounds must be at least 1, got 0"),
        (lambda: LSH(layers=("Causal()",)), "needs an entry 'lsh'"),
        (lambda: LSH(layers=("lsh", "Cusal()")), "Causal"),
        (lambda: run(module(), pattern=P.Window(3)), r"over Causal\(\) or Full\(\)"),
        (lambda: lsh.lsh_attention(X[..., None], X[..., None], rotations=None, chunk=4, causal=True), "got neither"),
    ],
)
def test_bad_input(make, reason):
    with pytest.raises(ValueError, match=reason):
        make()


def test_fewer_key_heads_are_refused():
    from efficient_attn.models import Decoder

    with pytest.raises(ValueError, match="a query is its own key"):
        Decoder(DecoderConfig(depth=1, width=8, heads=4, key_heads=2, attention=LSH()), key=jax.random.key(0))
