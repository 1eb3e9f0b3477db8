"""One layer of every mechanism: it runs, its work grows as its paper says, and so does its longest chain."""

import jax
import jax.numpy as jnp
import pytest

from efficient_attn.bench import mechanisms
from efficient_attn.bench.depth import chain

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("name", mechanisms.MECHANISMS)
def test_products_grow_as_published(name):
    flops, chains = mechanisms.grown(name, mechanisms.GROWN)
    quadratic = ("Transformer", "Synthesizer", "Adaptively Sparse")
    power = 2.0 if name.startswith(quadratic) else 1.5 if name.startswith(("Sparse", "Block")) else 1.0
    assert mechanisms.exponent(mechanisms.GROWN, flops) == pytest.approx(power, abs=0.15)
    if name == "nBRC":
        assert chains[-1] == pytest.approx(16 * chains[0], rel=0.01)
    else:
        # At most by a logarithm: one step for each doubling.
        assert chains[-1] - chains[0] <= 4


@pytest.mark.parametrize(
    "name", ["Longformer, window 256", "Adaptive span, up to 512", "Block Linformer, k = 16", "nBRC"]
)
def test_a_layer_runs(name):
    form, call = mechanisms.layer(name, 64, 1)
    x = jnp.ones((1, 64, mechanisms.SIZE))
    mixed = jax.jit(lambda params, x: call(form.module(params), x))(form.init(jax.random.key(0)), x)
    assert mixed.shape == x.shape
    assert jnp.isfinite(mixed).all()


def test_times_of_quadratic_mechanisms_end_early():
    assert mechanisms.timed("Synthesizer, dense", 65_536) == (1024, 2048, 4096)
    assert mechanisms.timed("nBRC", 2048) == (1024, 2048)


def test_a_chain_waits_only_for_what_it_needs():
    x = jnp.ones((8, 5))
    # A square for each row, all at once; then a running product, each turn of which needs the one before.
    apart = jax.make_jaxpr(lambda x: jax.lax.map(lambda row: jnp.tanh(row) * 2, x))(x)
    assert chain(apart) == 2
    running = jax.make_jaxpr(lambda x: jax.lax.scan(lambda a, row: (jnp.tanh(a * row), None), x[0], x)[0])(x)
    assert chain(running) >= 16
    assert chain(jax.make_jaxpr(jnp.sort)(jnp.ones(1024))) - chain(jax.make_jaxpr(jnp.sort)(jnp.ones(64))) == 4


def test_rows_are_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    row = mechanisms.Row(mechanism="nBRC", length=64, forward_ms=1.0, both_ms=2.0, mib=3.0)
    mechanisms.draw([row], tmp_path / "rows.png")
    assert (tmp_path / "rows.png").stat().st_size > 1000
