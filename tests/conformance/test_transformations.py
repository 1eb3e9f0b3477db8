"""``attend`` under jit, vmap and a mesh of eight devices gives what it gives without."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conformance_cases import ALL, LENGTH, PATTERNS, answers, assert_close, draw, inputs, taking
from jax.sharding import AxisType

from efficient_attn import RelativeBias, attend
from efficient_attn import patterns as P

each_implementation = pytest.mark.parametrize("implementation", ALL)
SPEC = jax.P("data", None, "model", None)


@each_implementation
@pytest.mark.parametrize("name", ["causal window", "strided", "nothing", "per head"])
def test_jit_is_eager(implementation, name):
    pattern = PATTERNS[name]
    call = lambda given: attend(**given, pattern=pattern, return_lse=True, implementation=implementation)  # noqa: E731
    for compiled, eager in zip(jax.jit(call)(inputs()), call(inputs()), strict=True):
        np.testing.assert_allclose(compiled, eager, rtol=1e-6, atol=1e-6)


@each_implementation
@pytest.mark.parametrize("name", ["causal window", "strided", "per head"])
def test_vmap_is_a_loop(implementation, name):
    stack = {key: np.stack([x, x[::-1], -x]) for key, x in inputs().items()}
    mask = draw(6, 3, *stack["key"].shape[1:3]) > -1
    bias = draw(7, 3, 1, 1, 1, LENGTH)

    def run(given, mask, bias):
        call = lambda given, bias: attend(  # noqa: E731
            **given, bias=bias, key_mask=mask, pattern=PATTERNS[name], return_lse=True, implementation=implementation
        )
        results, pull = jax.vjp(call, given, bias)
        return results, pull(jax.tree.map(jnp.ones_like, results))

    together = jax.vmap(run)(stack, mask, bias)
    for n in range(3):
        alone = run({key: x[n] for key, x in stack.items()}, mask[n], bias[n])
        jax.tree.map(lambda a, b, n=n: np.testing.assert_allclose(a[n], b, rtol=1e-4, atol=2e-5), together, alone)


@each_implementation
def test_vmap_of_values_alone(implementation):
    given = inputs()
    values = np.stack([given["value"], 2 * given["value"]])
    run = lambda v: attend(given["query"], given["key"], v, P.Causal(), implementation=implementation)  # noqa: E731
    one, two = jax.vmap(run)(values)
    np.testing.assert_allclose(2 * one, two, rtol=1e-5, atol=1e-6)


@dataclasses.dataclass(frozen=True)
class Counted(P.Pattern):
    """A user's pattern that notes when it is traced."""

    calls: tuple = dataclasses.field(default=(), compare=False)

    def allows(self, i, j):
        TRACED.append(1)
        return i >= j


TRACED: list[int] = []


@each_implementation
@pytest.mark.fast
def test_repeated_shapes_are_traced_once(implementation):
    # chex counts by the name of the function, which the other implementations share.
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(given):
        return attend(**given, pattern=P.Causal(), implementation=implementation)

    for factor in (1.0, 2.0, 3.0):
        run({name: factor * x for name, x in inputs().items()})


@each_implementation
def test_eager_calls_reuse_their_program(implementation):
    attend(**inputs(), pattern=Counted(), implementation=implementation)
    before = len(TRACED)
    # An equal pattern, not the same one.
    attend(**inputs(), pattern=Counted(), implementation=implementation)
    assert len(TRACED) == before > 0


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((4, 2), ("data", "model"), axis_types=(kind, kind))


def on_eight_devices(implementation, pattern, given, arrays=None, **static):
    """The answers with batch and heads over a mesh, and what is the same on one device."""
    one = answers(implementation, pattern, given, arrays, **static)
    with jax.set_mesh(mesh()):
        placed = {
            name: jax.device_put(x, jax.NamedSharding(mesh(), SPEC)) if np.ndim(x) == 4 and name != "bias" else x
            for name, x in given.items()
        }
        eight = answers(implementation, pattern, placed, arrays, query_spec=SPEC, **static)
        assert len(eight["output"].sharding.device_set) == 8
    return eight, one


@each_implementation
@pytest.mark.parametrize("name", ["causal window", "strided", "nothing"])
@pytest.mark.parametrize("key_heads", [2, 6])
def test_eight_devices_are_one(implementation, name, key_heads):
    given = inputs(batch=4, heads=6, key_heads=key_heads)
    assert_close(*on_eight_devices(implementation, PATTERNS[name], given))


@pytest.mark.parametrize(
    ("implementation", "kind"),
    [(name, kind) for name in ALL for kind in ("pairs", "one row of pairs")]
    + [(name, kind) for name in taking("relative bias") for kind in ("offsets", "offsets per query")],
)
def test_eight_devices_with_every_option(implementation, kind):
    given = inputs(batch=4, heads=6, key_heads=2)
    given["bias"] = {
        "pairs": draw(9, 4, 6, LENGTH, LENGTH),
        "one row of pairs": draw(9, 1, 6, 1, LENGTH),
        "offsets": RelativeBias(draw(9, 6, 43)),
        "offsets per query": RelativeBias(draw(9, 4, 6, LENGTH, 43)),
    }[kind]
    arrays = {
        "dropout_key": jax.random.key(3),
        "key_mask": draw(6, 4, LENGTH) > -1,
        "segment_ids": np.sort(np.random.default_rng(1).integers(0, 2, (4, LENGTH)), axis=1),
    }
    if implementation in taking("positions"):
        arrays["query_positions"] = np.broadcast_to(np.arange(LENGTH), (4, 6, LENGTH))
        arrays["key_positions"] = np.broadcast_to(np.arange(LENGTH), (4, 1, LENGTH))
    assert_close(*on_eight_devices(implementation, PATTERNS["window"], given, arrays, dropout_rate=0.3))


NEAR, FAR, LOCAL = P.Causal() & P.Window(left=31), P.Causal() & P.Strided(16), P.Chunk(29)


@each_implementation
@pytest.mark.parametrize(
    "patterns",
    [(NEAR, FAR, LOCAL, FAR, NEAR, LOCAL), (NEAR, FAR, LOCAL) * 2],
    ids=["lists of their own", "the same list"],
)
def test_eight_devices_take_the_patterns_of_their_heads(implementation, patterns):
    given = inputs(batch=4, heads=6, key_heads=2)
    assert_close(*on_eight_devices(implementation, P.PerHead(patterns), given))


@each_implementation
def test_heads_over_two_mesh_axes_take_their_patterns(implementation):
    pattern, given = P.PerHead([NEAR, FAR, NEAR, LOCAL, FAR, FAR, NEAR, LOCAL]), inputs(heads=8, key_heads=8)
    one = answers(implementation, pattern, given)
    with jax.set_mesh(mesh()):
        eight = answers(implementation, pattern, given, query_spec=jax.P(None, None, ("data", "model")))
    assert_close(eight, one)


@each_implementation
def test_patterns_per_head_shard_their_batch(implementation):
    given = inputs(batch=4)
    one = answers(implementation, PATTERNS["per head"], given)
    with jax.set_mesh(mesh()):
        eight = answers(implementation, PATTERNS["per head"], given, query_spec=jax.P("data"))
    assert_close(eight, one)


@each_implementation
def test_an_explicit_mesh_needs_no_spec(implementation):
    given = inputs(batch=4, heads=6)
    one = answers(implementation, P.Causal(), given)
    with jax.set_mesh(mesh(AxisType.Explicit)) as _:
        placed = {name: jax.device_put(x, SPEC) for name, x in given.items()}
        call = lambda given, _: attend(**given, pattern=P.Causal(), return_lse=True, implementation=implementation)  # noqa: E731
        output, lse = jax.jit(call)(placed, None)
        assert jax.typeof(output).sharding.spec == SPEC
    np.testing.assert_allclose(output, one["output"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(lse, one["log-sum-exp"], rtol=1e-4, atol=1e-5)


def test_more_devices_than_key_heads_are_refused():
    with jax.set_mesh(mesh()), pytest.raises(ValueError, match="cannot be divided among 2 devices"):
        attend(**inputs(batch=4, heads=6, key_heads=3), pattern=P.Causal(), query_spec=SPEC)


def test_a_sharded_head_size_is_refused():
    with jax.set_mesh(mesh()), pytest.raises(ValueError, match="shards the head size"):
        attend(**inputs(batch=4, heads=6), pattern=P.Causal(), query_spec=jax.P(None, None, None, "model"))


def test_a_spec_without_a_mesh_is_refused():
    with pytest.raises(ValueError, match="needs a mesh"):
        attend(**inputs(), pattern=P.Causal(), query_spec=SPEC)
