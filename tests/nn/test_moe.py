"""Mixtures of experts: each token through its experts, groups within rows, single tokens without drop, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import AdaptiveSpan, Decoder, DecoderConfig, Experts
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.moe import MoE
from efficient_attn.ops import routing
from efficient_attn.precision import Precision

pytestmark = pytest.mark.fast

WIDTH = 6
X = jax.random.normal(jax.random.key(0), (2, 11, WIDTH))


def mixture(**changes):
    experts = Experts(**({"number": 3, "hidden": 5, "group": 4} | changes))
    return MoE(experts, WIDTH, 24, "relu", Initialization("code", 1), Precision(), rngs=nnx.Rngs(0))


def by_hand(moe, x):
    """Every expert on every token, and the two that count."""
    choices = routing.top2((x @ moe.router[...])[None])
    hidden = jax.nn.relu(jnp.einsum("sd,edf->esf", x, moe.expand.kernel[...]))
    each = jnp.einsum("esf,efd->esd", hidden, moe.contract.kernel[...])
    chosen = each[choices.expert[0].T, jnp.arange(x.shape[0])]
    return jnp.einsum("ksd,sk->sd", chosen, choices.gate[0])


def test_with_room_for_all_it_is_the_sum_over_the_chosen_experts():
    moe = mixture(capacity_factor=9.0)
    y, seen = moe.routed(X, None, None)
    np.testing.assert_allclose(y.reshape(-1, WIDTH), by_hand(moe, X.reshape(-1, WIDTH)), atol=1e-6)
    assert seen.dropped == 0 and seen.load.sum() == 22


def test_groups_stay_within_rows_and_padding_takes_no_room():
    moe = mixture(capacity_factor=1.0)
    y, seen = moe.routed(X, None, None)
    assert seen.dropped > 0
    np.testing.assert_allclose(moe(X[1:]), y[1:], atol=1e-6)
    np.testing.assert_allclose(moe(X[:, 4:8]), y[:, 4:8], atol=1e-6)
    valid = jnp.arange(11) > 1
    masked, seen = moe.routed(X, jnp.broadcast_to(valid, (2, 11)), None)
    assert not masked[:, :2].any() and seen.load.sum() == 18
    other, _ = moe.routed(X.at[:, :2].set(7.0), jnp.broadcast_to(valid, (2, 11)), None)
    np.testing.assert_array_equal(masked, other)


def test_one_token_is_never_dropped():
    moe = mixture(capacity="paper", number=7)
    _, seen = moe.routed(X[:, :1], None, None)
    assert seen.dropped == 0


def test_an_expert_begins_as_a_network_alone_would():
    moe = MoE(Experts(number=16), 64, 256, "relu", Initialization("code", 8), Precision(), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(jnp.std(moe.expand.kernel[...]), (0.125 / 64) ** 0.5, rtol=0.02)
    np.testing.assert_allclose(jnp.std(moe.contract.kernel[...]), (0.125 / 256 / 16) ** 0.5, rtol=0.02)
    # A scheme that reads the shape of what it draws does not count the experts.
    moe = MoE(Experts(number=16), 64, 256, "relu", Initialization("unit_scaling", 8), Precision(), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(jnp.std(moe.expand.kernel[...]), 64**-0.5, rtol=0.02)
    np.testing.assert_allclose(jnp.std(moe.contract.kernel[...]), 256**-0.5, rtol=0.02)


CONFIG = DecoderConfig(
    depth=3, width=8, heads=2, vocab=13, experts=Experts(number=3, capacity_factor=3.0), initialization="unit"
)


def test_decoding_steps_are_the_rows_of_the_whole():
    decoder = Decoder(CONFIG, key=jax.random.key(0))
    assert [type(block).__name__ for block in decoder.stack.cycle] == ["Block", "RoutedBlock"]
    tokens = jax.random.randint(jax.random.key(1), (2, 5), 0, 13)
    # The streams and not the logits, which begin at zero.
    hidden = decoder.hidden(tokens)
    caches, step = (
        decoder.init_cache(2, 5),
        jax.jit(lambda t, p, c: decoder.stack.step(decoder.embedding.one(t, p), c, p, (p, p))),
    )
    for position in range(5):
        x, caches = step(tokens[:, position - 1], jnp.int32(position), caches)
        np.testing.assert_allclose(x[:, 0], hidden[:, position], atol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"router": "expert_choice"}, "see the future"),
        ({"number": 1}, "at least 2 experts"),
        ({"group": 0}, "group must be at least 1"),
        ({"auxiliary": -1.0}, "coefficients of losses"),
        ({"capacity_factor": 0.0}, "must be positive"),
    ],
)
def test_bad_experts_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        Experts(**({"number": 4} | change))


@pytest.mark.parametrize("change", [{"ff_stretch": 4}, {"attention": AdaptiveSpan()}, {"depth": 1}])
def test_models_that_cannot_have_experts_are_refused(change):
    with pytest.raises(ValueError, match="mixture"):
        DecoderConfig(**({"depth": 2, "width": 8, "heads": 2, "experts": Experts(number=4)} | change))
