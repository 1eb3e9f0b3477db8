"""Embeddings and logits: shapes, the shift to the right, position schemes, heads."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.nn.embedding import (
    AxialPositions,
    Embedding,
    RotaryPositions,
    SinusoidalPositions,
    TablePositions,
    check_length,
    rotary_base,
)
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.positions import sinusoids

pytestmark = pytest.mark.fast

VOCAB, WIDTH = 29, 8
TOKENS = jax.random.randint(jax.random.key(3), (2, 11), 0, VOCAB)
SCHEMES = {
    "rotary": RotaryPositions(),
    "sinusoidal": SinusoidalPositions(),
    "table": TablePositions(sizes=(13,)),
    "rows and columns": TablePositions(sizes=(3, 5)),
}


def embedding(positions, logits="untied"):
    return Embedding(VOCAB, WIDTH, positions, logits, Initialization("code", 2), rngs=nnx.Rngs(0))


def by_hand(module, positions, count):
    if isinstance(positions, SinusoidalPositions):
        return sinusoids(jnp.arange(count), WIDTH)
    if isinstance(positions, RotaryPositions):
        return jnp.zeros((count, WIDTH))
    digits = np.unravel_index(np.arange(count), positions.sizes)
    return sum(table[...][digit] for table, digit in zip(module.tables, digits, strict=True))


@pytest.mark.parametrize("name", SCHEMES)
def test_slot_i_holds_token_and_position_before_it(name):
    module = embedding(SCHEMES[name])
    x = module.shifted(TOKENS)
    chex.assert_shape(x, (2, 11, WIDTH))
    np.testing.assert_array_equal(x[:, 0], jnp.broadcast_to(module.start[...], (2, WIDTH)))
    expected = module.tokens[...][TOKENS[:, :-1]] + by_hand(module, SCHEMES[name], 10)
    np.testing.assert_allclose(x[:, 1:], expected, atol=1e-6)


@pytest.mark.parametrize("name", SCHEMES)
def test_one_slot_equals_its_row(name):
    module = embedding(SCHEMES[name])
    x = module.shifted(TOKENS)
    for slot in range(11):
        one = module.one(TOKENS[:, max(slot - 1, 0)], jnp.asarray(slot))
        chex.assert_shape(one, (2, 1, WIDTH))
        np.testing.assert_allclose(one[:, 0], x[:, slot], atol=1e-6)


@pytest.mark.parametrize("logits", ["tied", "untied", "untied_zero"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_logits_are_float32_and_have_their_own_table_or_not(logits, dtype):
    module = embedding(RotaryPositions(), logits)
    x = jax.random.normal(jax.random.key(0), (2, 5, WIDTH), dtype)
    found = module.logits(x)
    chex.assert_shape(found, (2, 5, VOCAB))
    chex.assert_type(found, jnp.float32)
    table = module.tokens[...].T if logits == "tied" else module.head[...]
    assert (module.head is None) == (logits == "tied")
    np.testing.assert_allclose(found, x.astype(jnp.float32) @ table, atol=1e-2 if dtype == jnp.bfloat16 else 1e-5)
    assert (logits == "untied_zero") == bool((found == 0).all())


def test_lengths_and_bases():
    assert TablePositions(sizes=(3, 5)).length == 15
    check_length(TablePositions(sizes=(3, 5)), 15)
    check_length(RotaryPositions(), 10**9)
    with pytest.raises(ValueError, match="positions for 15 tokens, got a context of 16"):
        check_length(TablePositions(sizes=(3, 5)), 16)
    assert rotary_base(RotaryPositions(base=7.0)) == 7.0
    assert rotary_base(SinusoidalPositions()) is None


@pytest.mark.parametrize("sizes", [(), (3, 0)])
def test_tables_need_sizes(sizes):
    with pytest.raises(ValueError, match="sizes must be one or more"):
        TablePositions(sizes=sizes)


def test_axial_tables_lie_side_by_side():
    module = embedding(AxialPositions(sizes=(3, 4), widths=(2, WIDTH - 2)), "untied")
    first, second = module.tables
    found = module._position(jnp.arange(11))
    chex.assert_shape([first[...], second[...], found], [(3, 2), (4, WIDTH - 2), (11, WIDTH)])
    np.testing.assert_array_equal(found[7], np.concatenate([first[1], second[3]]))


def test_what_does_not_fit_the_width_is_refused():
    with pytest.raises(ValueError, match=r"AxialPositions needs a width for each of one or more sizes"):
        AxialPositions(sizes=(3, 4), widths=(2,))
    with pytest.raises(ValueError, match=rf"must add up to the model's width {WIDTH}, got \(2, 3\)"):
        embedding(AxialPositions(sizes=(3, 4), widths=(2, 3)), "untied")
