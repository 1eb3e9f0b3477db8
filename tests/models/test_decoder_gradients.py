"""Causality by gradient: what the loss of one token depends on, for every position scheme, traced and not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import BlockLinformer, Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.nn.embedding import RotaryPositions, SinusoidalPositions, TablePositions
from efficient_attn.tasks.language_modelling import cross_entropy

LENGTH = 11
# All tokens differ, so that a row of the gradient of the token table is the influence of one position.
TOKENS = jnp.asarray(np.random.default_rng(0).permutation(LENGTH)[None], jnp.int32)


def influences(positions, attention, *, norm="pre", jit=True):
    """Bool ``[LENGTH, LENGTH]``: whether the loss of token i depends on token j."""
    config = DecoderConfig(
        depth=2,
        width=8,
        heads=2,
        vocab=LENGTH,
        positions=positions,
        attention=Sparse(patterns=attention) if isinstance(attention, tuple) else attention,
        logits="untied",
        norm=norm,
    )
    model = Functional(lambda key: Decoder(config, key=key))
    params = model.init(jax.random.key(0))

    def losses(table):
        changed = {**params, "embedding": {**params["embedding"], "tokens": table}}
        return cross_entropy(model.module(changed)(TOKENS), TOKENS)[0]

    jacobian = jax.jacrev(losses)
    found = (jax.jit(jacobian) if jit else jacobian)(params["embedding"]["tokens"])
    return np.abs(np.asarray(found)).sum(-1)[:, np.asarray(TOKENS[0])] > 0


SCHEMES = {"rotary": RotaryPositions(), "sinusoidal": SinusoidalPositions(), "table": TablePositions(sizes=(3, 5))}


@pytest.mark.parametrize("name", SCHEMES)
def test_a_loss_depends_on_exactly_the_tokens_before(name):
    np.testing.assert_array_equal(influences(SCHEMES[name], ("Causal()",)), np.tri(LENGTH, k=-1, dtype=bool))


def test_slots_of_blocks_reach_everything_before_and_nothing_after():
    found = influences(RotaryPositions(), BlockLinformer(block=4, slots=2))
    np.testing.assert_array_equal(found, np.tri(LENGTH, k=-1, dtype=bool))


def test_without_jit_and_with_post_norm():
    found = influences(RotaryPositions(), ("Causal()",), norm="post", jit=False)
    np.testing.assert_array_equal(found, np.tri(LENGTH, k=-1, dtype=bool))


def test_layers_have_their_own_patterns():
    window, strided = np.tri(LENGTH, dtype=bool), np.tri(LENGTH, dtype=bool)
    offset = np.arange(LENGTH)[:, None] - np.arange(LENGTH)
    window &= offset <= 1
    strided &= offset % 4 == 0
    reached = strided.astype(int) @ window.astype(int) > 0
    # Input slot i holds the token before.
    expected = np.pad(reached[:, 1:], ((0, 0), (0, 1)))
    found = influences(RotaryPositions(), ("Causal() & Window(left=1)", "Causal() & Strided(4)"))
    np.testing.assert_array_equal(found, expected)
