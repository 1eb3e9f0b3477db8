"""Routing: the hand-worked case, a slow implementation in numpy on drawn cases, and two dispatches with one meaning."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from efficient_attn.ops import routing

pytestmark = pytest.mark.fast

LOGITS = np.array([[2, 1, 0], [2, 0, 1], [1.5, 0.5, 0], [0, 2, 1], [0.5, 0.2, 0.1], [0, 0.3, 1.2]], np.float32)
PLACERS = (routing.place_by_counting, routing.place_by_sorting)


@functools.cache
def placed(place, experts, capacity):
    return jax.jit(functools.partial(place, experts=experts, capacity=capacity))


def occupied(choices, places, group=0):
    """(token, expert, slot, rank of choice) of all that is kept."""
    kept = np.argwhere(np.asarray(places.kept[group]))
    expert, slot = np.asarray(choices.expert[group]), np.asarray(places.slot[group])
    return {(int(t), int(expert[t, k]), int(slot[t, k]), int(k)) for t, k in kept}


def slow(expert, wanted, capacity):
    """What one group keeps: first choices in order of tokens, then second ones, while there is room."""
    full, kept = {}, set()
    for k in range(expert.shape[1]):
        for t in range(expert.shape[0]):
            e = int(expert[t, k])
            if wanted[t, k] and full.get(e, 0) < capacity:
                kept.add((t, e, full.get(e, 0), k))
                full[e] = full.get(e, 0) + 1
    return kept


@pytest.mark.parametrize("place", PLACERS)
def test_the_hand_worked_case(place):
    choices = routing.top2(jnp.asarray(LOGITS)[None])
    assert choices.expert[0, :, 0].tolist() == [0, 0, 0, 1, 0, 2]
    assert choices.expert[0, :, 1].tolist() == [1, 2, 1, 2, 1, 1]
    np.testing.assert_allclose(choices.gate[0, :, 0], [0.731059] * 4 + [0.574443, 0.71095], atol=1e-6)
    np.testing.assert_allclose(choices.auxiliary, [1.160038], atol=1e-6)
    places = place(choices, 3, 2)
    lies = {(t, e, slot) for t, e, slot, _ in occupied(choices, places)}
    assert lies == {(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 2, 1), (3, 1, 0), (5, 2, 0)}
    x = jnp.arange(6.0 * 5).reshape(1, 6, 5) + 1
    y = routing.combine(routing.dispatch(x, choices, places, 3, 2), choices, places)
    share = np.array([1, 1, 0, 0.731059, 0, 0.71095])
    np.testing.assert_allclose(y[0], share[:, None] * x[0], rtol=1e-5)


@pytest.mark.parametrize(
    "rule, tokens, experts, expected",
    [
        ("paper", 1024, 2048, 1),
        ("lingvo", 1024, 2048, 4),
        ("lingvo", 1000, 300, 8),
        ("paper", 1000, 300, 7),
        ("switch", 1024, 64, 20),
        ("switch", 3, 64, 4),
        ("vmoe", 1024, 64, 36),
    ],
)
def test_capacities(rule, tokens, experts, expected):
    assert routing.capacity(rule, tokens, experts, 2) == expected


def test_bad_capacities_are_refused():
    with pytest.raises(ValueError, match="capacity rule is one of"):
        routing.capacity("most", 8, 2, 2)
    with pytest.raises(ValueError, match="must be positive"):
        routing.capacity("paper", 0, 2, 2)


def check(seed, rule, with_padding, with_key, experts):
    tokens = 23
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(2, tokens, experts)).astype(np.float32) * rng.choice([0.1, 1, 5])
    valid = jnp.asarray(rng.random((2, tokens)) < 0.8) if with_padding else None
    choices = routing.top2(jnp.asarray(logits), valid=valid, key=jax.random.key(seed) if with_key else None)
    order = np.argsort(-logits, axis=-1, kind="stable")[..., :2]
    np.testing.assert_array_equal(choices.expert, order)
    assert not with_padding or not np.any(np.asarray(choices.wanted) & ~np.asarray(valid)[..., None])
    capacity = routing.capacity(rule, tokens, experts, 2, 1.0)
    answers = [placed(place, experts, capacity)(choices) for place in PLACERS]
    chex.assert_trees_all_equal(*answers)
    for group in range(2):
        expected = slow(order[group], np.asarray(choices.wanted[group]), capacity)
        assert occupied(choices, answers[0], group) == expected


RULES, SEEDS = st.sampled_from(["paper", "lingvo", "switch", "vmoe"]), st.integers(0, 2**31 - 1)


@settings(max_examples=6, deadline=None)
@given(SEEDS, RULES, st.booleans(), st.booleans(), st.just(5))
def test_both_placements_are_the_slow_one(seed, rule, with_padding, with_key, experts):
    check(seed, rule, with_padding, with_key, experts)


@pytest.mark.fuzz
@settings(max_examples=1000, deadline=None)
@given(SEEDS, RULES, st.booleans(), st.booleans(), st.sampled_from([2, 3, 7, 16]))
def test_both_placements_are_the_slow_one_fuzz(seed, rule, with_padding, with_key, experts):
    check(seed, rule, with_padding, with_key, experts)


def test_both_dispatches_keep_the_same_bits_and_have_the_same_gradients():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 13, 7)), jnp.float32)
    choices = routing.top2(jnp.asarray(rng.normal(size=(2, 13, 3)), jnp.float32), key=jax.random.key(1))
    places = routing.place_by_sorting(choices, 3, 5)
    assert not places.kept.all()
    rows = routing.dispatch(x, choices, places, 3, 5)
    np.testing.assert_array_equal(rows, routing.dispatch_one_hot(x, choices, places, 3, 5))

    def through(send, receive):
        def loss(x, gate):
            asked = choices._replace(gate=gate)
            return jnp.sum(jnp.sin(receive(jnp.tanh(send(x, asked, places, 3, 5)), asked, places)))

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(x, choices.gate)

    one_hot = through(routing.dispatch_one_hot, routing.combine_one_hot)
    chex.assert_trees_all_close(through(routing.dispatch, routing.combine), one_hot, rtol=1e-5, atol=1e-6)


def test_the_random_second_choice_stays_as_often_as_the_paper_says():
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.8, 0.2, 1e-6])), (1, 4000, 3))
    choices = routing.top2(logits, key=jax.random.key(0))
    assert choices.wanted[..., 0].all()
    np.testing.assert_allclose(choices.wanted[..., 1].mean(), 0.4, atol=0.03)


def test_a_second_choice_is_never_the_first_even_where_probabilities_underflow():
    choices = routing.top2(jnp.array([[[1e4, 0.0, 0.0]]]))
    assert choices.expert.tolist() == [[[0, 1]]]


def test_losses():
    logits = jnp.zeros((1, 6, 3))
    valid = jnp.array([[True] * 3 + [False] * 3])
    np.testing.assert_allclose(routing.router_z_loss(logits, valid), np.log(3) ** 2 / 2, rtol=1e-5)
    balanced = jnp.asarray(np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]])[None] * 1e-3
    np.testing.assert_allclose(routing.switch(balanced).auxiliary, 1.0, rtol=1e-5)
    np.testing.assert_allclose(routing.top2(balanced, valid=valid).auxiliary, 0.25, rtol=1e-5)


def test_experts_that_choose_are_full():
    logits = jax.random.normal(jax.random.key(0), (2, 11, 3))
    tokens, gates = routing.expert_choice(logits, 4, jnp.arange(11)[None] < jnp.array([[11], [6]]))
    assert tokens.shape == gates.shape == (2, 3, 4)
    assert tokens[1].max() < 6
    scores = np.sort(np.asarray(jax.nn.softmax(logits[0])), axis=0)[::-1]
    np.testing.assert_allclose(gates[0], scores[:4].T, rtol=1e-6)
    with pytest.raises(ValueError, match="1 to 11 tokens"):
        routing.expert_choice(logits, 12)
