"""A cached step over eight devices reads the caches where they lie, and gives the numbers of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn.attention import SelfAttention
from efficient_attn.nn.cache import Cache
from efficient_attn.nn.initializers import Initialization
from efficient_attn.patterns.local import Causal
from efficient_attn.precision import Precision
from efficient_attn.recipe import Mesh

HEADS, SIZE, SLOTS = 16, 4, 1024
WIDTH = HEADS * SIZE
FORM, MODULE = nnx.split(
    SelfAttention(WIDTH, HEADS, HEADS, WIDTH, Initialization("code", 1), Precision(), rngs=nnx.Rngs(0))
)


def step(module, x, key, value, positions):
    """The token after all that the cache holds."""
    position = jnp.max(positions) + 1
    y, cache = nnx.merge(FORM, module).step(x, Causal(), Cache(key, value, positions, HEADS), position, position)
    return y, cache.key


def arrays(rows):
    draw = lambda n, *shape: jax.random.normal(jax.random.key(n), (rows, *shape))  # noqa: E731
    positions = jnp.where(jnp.arange(SLOTS) < 7, jnp.arange(SLOTS), -1).astype(jnp.int32)
    return draw(0, 1, WIDTH), draw(1, SLOTS, WIDTH), draw(2, SLOTS, WIDTH), positions


@pytest.mark.parametrize("mesh", [Mesh(data=8), Mesh(data=2, expert=2, model=2)], ids=["rows", "rows and heads"])
def test_so_many_rows_that_they_are_read_in_a_loop_are_gathered_nowhere(mesh):
    placement = mesh.placement()
    heads = jax.NamedSharding(placement.mesh, jax.P(("data", "expert"), None, "model"))
    whole = placement.replicated
    with jax.set_mesh(placement.mesh):
        run = jax.jit(
            step,
            in_shardings=(whole, placement.batches(), heads, heads, whole),
            out_shardings=(placement.batches(), heads),
        )
        text = run.lower(MODULE, *jax.eval_shape(lambda: arrays(256))).compile().as_text()
    assert " while(" in text
    # Heads are put together for the projection after them, and no slot is.
    assert not [line for line in text.splitlines() if " all-gather(" in line and f",{SLOTS}," in line]


@pytest.mark.parametrize("rows", [8, 3])
def test_a_step_gives_the_numbers_of_one_device(rows):
    given = arrays(rows)
    expected = step(MODULE, *given)
    with jax.set_mesh(Mesh(data=2, expert=2, model=2).placement().mesh):
        found = jax.jit(step)(MODULE, *given)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
