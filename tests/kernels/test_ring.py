"""``attend`` with its sequence over the devices of a mesh gives what one device gives, and sends what its schedule says."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.kernels.rotations import rotations
from efficient_attn.patterns.factorized import Columns

LENGTH = 64
WINDOW = P.Causal() & P.Window(left=5)
STRIDED = P.Causal() & (P.Window(left=7) | P.Strided(8))
FIXED = P.Causal() & P.Fixed(stride=8, summary=2)


def mesh(rows: int, sequence: int, heads: int = 1, kind=AxisType.Auto):
    return jax.make_mesh((rows, sequence, heads), ("data", "sequence", "model"), axis_types=(kind,) * 3)


def inputs(heads: int = 2, key_heads: int = 2) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    sizes = {"query": (heads, 8), "key": (key_heads, 8), "value": (key_heads, 4)}
    return {name: draw.normal(size=(2, LENGTH, *size)).astype(np.float32) for name, size in sizes.items()}


MASKED = {
    "key_mask": np.random.default_rng(1).random((2, LENGTH)) > 0.3,
    "segment_ids": np.sort(np.random.default_rng(2).integers(0, 3, (2, LENGTH)), axis=1),
}


def answers(pattern: P.Pattern, given: dict, options: dict, spec: jax.P | None = None) -> dict:
    """Output, log-sum-exp and the gradients of a function of both."""

    def loss(given):
        output, lse = attend(**given, **options, pattern=pattern, query_spec=spec, return_lse=True)
        return jnp.sin(output).mean() + jnp.where(jnp.isneginf(lse), 0.0, lse).mean(), (output, lse)

    gradients, (output, lse) = jax.jit(jax.grad(loss, has_aux=True))(given)
    return {"output": output, "log-sum-exp": lse, **gradients}


@pytest.mark.parametrize(
    ("pattern", "shape", "options"),
    [
        pytest.param(WINDOW, (1, 8), {}, id="causal window", marks=pytest.mark.fast),
        pytest.param(P.Causal(), (2, 4), {}, id="causal"),
        pytest.param(STRIDED, (2, 4), {}, id="strided", marks=pytest.mark.slow),
        pytest.param(FIXED, (2, 4), {}, id="fixed"),
        pytest.param(FIXED, (2, 4), MASKED, id="masked fixed", marks=pytest.mark.slow),
        pytest.param(WINDOW, (2, 4), MASKED, id="masked window"),
        pytest.param(P.Window(3, 3) | P.Global([0, 40]), (1, 8), {}, id="global", marks=pytest.mark.slow),
        pytest.param(P.PerHead([WINDOW, WINDOW, P.Chunk(32), P.Chunk(32)]), (1, 4, 2), {}, id="per head"),
        pytest.param(P.Window(0) & ~P.Window(0), (1, 8), {}, id="nothing"),
    ],
)
def test_a_sharded_sequence_is_a_whole_one(pattern, shape, options):
    given = inputs(*((4, 2) if isinstance(pattern, P.PerHead) else (2, 2)))
    one, spec = answers(pattern, given, options), jax.P("data", "sequence", "model")
    with jax.set_mesh(mesh(*shape)):
        eight = answers(pattern, given, options, spec)
        assert len(eight["output"].sharding.device_set) == 8
    for name, x in one.items():
        np.testing.assert_allclose(
            eight[name], x, rtol=1e-5, atol=1e-6 if name == "log-sum-exp" else 1e-5, err_msg=name
        )


def compiled(pattern: P.Pattern, gradient: bool) -> str:
    """The program of attention over eight devices."""
    spec, given = jax.P(None, "sequence"), inputs()
    call = lambda given: attend(**given, pattern=pattern, query_spec=spec).sum()  # noqa: E731
    with jax.set_mesh(mesh(1, 8)):
        placed = {name: jax.device_put(x, jax.NamedSharding(mesh(1, 8), spec)) for name, x in given.items()}
        return jax.jit(jax.grad(call) if gradient else call).lower(placed).compile().as_text()


def exchanges(text: str) -> int:
    return len(re.findall(r"= .* collective-permute(?:-start)?\(", text))


@pytest.mark.fast
def test_a_window_is_one_rotation_of_its_own_length():
    text = compiled(WINDOW, gradient=False)
    assert "all-gather" not in text
    # One message of keys and one of values.
    assert exchanges(text) == 2
    assert len(re.findall(r"f32\[2,5,2,[84]\]\S* collective-permute", text)) == 2


def test_gradients_gather_nothing():
    text = compiled(WINDOW, gradient=True)
    assert "all-gather" not in text
    # There, there again for the backward pass, and the gradients back.
    assert exchanges(text) <= 6


@pytest.mark.fast
def test_rotations_that_nobody_needs_are_left_out():
    turns = lambda pattern, devices=8: [(r.turn, len(r.pairs), r.keys) for r in rotations((pattern,), devices, 1024)]  # noqa: E731
    assert turns(P.Causal()) == [(0, 0, 1024)] + [(turn, 8 - turn, 1024) for turn in range(1, 8)]
    assert turns(P.Causal() & P.Window(left=511)) == [(0, 0, 1024), (1, 7, 512)]
    assert turns(P.Causal() & P.Window(left=1100)) == [(0, 0, 1024), (1, 7, 1024), (2, 6, 128)]
    assert turns(P.Window(left=100, right=100)) == [(0, 0, 1024), (1, 7, 128), (7, 7, 128)]
    assert turns(P.Chunk(1024)) == [(0, 0, 1024)]
    assert turns(P.Full(), 2) == [(0, 0, 1024), (1, 2, 1024)]


@pytest.mark.fast
def test_each_device_sends_the_keys_that_are_seen():
    first, second = rotations((P.Causal() & P.Window(left=100) | P.Causal() & P.Prefix(64),), 4, 1024)[1:3]
    # The first shard's keys are seen at both ends; beyond its neighbour, the prefix alone.
    assert (first.turn, first.keys, second.turn, second.keys) == (1, 1024, 2, 128)
    assert second.pairs == ((0, 2),)
    assert len(rotations((P.Causal(),), 64, 128)[5].patterns) == 1
    # Summary columns reach over nearly all of a shard, which is sent whole, and look the same from every other one.
    fixed = rotations((P.Causal() & P.Fixed(stride=256, summary=8),), 8, 1024)[1:]
    assert {(r.keys, r.patterns) for r in fixed} == {(1024, (Columns(256, 248, 256),))}


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"bias": np.zeros((1, 2, 1, LENGTH), np.float32)}, NotImplementedError, "does not take bias"),
        ({"dropout_rate": 0.1, "dropout_key": jax.random.key(0)}, NotImplementedError, "does not take dropout_rate"),
        ({"query_positions": np.arange(LENGTH)}, NotImplementedError, "does not take query_positions"),
        ({"query": inputs()["query"][:, :63], "pattern": P.Full()}, NotImplementedError, "63 queries and 64 keys"),
        ({k: x[:, :63] for k, x in inputs().items()}, ValueError, "63 tokens do not divide among 8 devices"),
    ],
    ids=["bias", "dropout", "positions", "cross-attention", "length"],
)
@pytest.mark.fast
def test_what_is_not_offered_is_said(change, error, said):
    call = functools.partial(attend, query_spec=jax.P(None, "sequence"))
    with jax.set_mesh(mesh(1, 8)), pytest.raises(error, match=said):
        call(**{**inputs(), "pattern": P.Causal(), **change})


def test_an_explicit_mesh_needs_no_spec():
    given = inputs()
    one = attend(**given, pattern=WINDOW)
    with jax.set_mesh(mesh(2, 4, kind=AxisType.Explicit)):
        placed = {name: jax.device_put(x, jax.P("data", "sequence", "model", None)) for name, x in given.items()}
        eight = jax.jit(functools.partial(attend, pattern=WINDOW))(**placed)
        assert jax.typeof(eight).sharding.spec[:2] == ("data", "sequence")
    np.testing.assert_allclose(eight, one, rtol=1e-5, atol=1e-5)
