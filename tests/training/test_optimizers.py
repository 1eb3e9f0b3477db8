"""Each optimizer against numbers worked out by hand."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efficient_attn.training import SGD, Adafactor, Adagrad, AdamW, chain
from efficient_attn.training.factored import scale_by_factored_moments
from efficient_attn.training.optimizers import RateState


def run(transformation, params, gradients):
    """Returns the parameters after each gradient."""
    state, trail = transformation.init(params), []
    for gradient in gradients:
        updates, state = transformation.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        trail.append(params)
    return trail


def constant(rate):
    return lambda step: jnp.asarray(rate)


def test_adamw_first_step_is_the_sign_and_decay_touches_matrices_only():
    params = {"matrix": jnp.full((2, 3), 2.0), "vector": jnp.full((3,), 2.0)}
    gradient = {"matrix": jnp.full((2, 3), -5.0), "vector": jnp.full((3,), 0.1)}
    (after,) = run(AdamW(weight_decay=0.5).build(constant(0.1)), params, [gradient])
    np.testing.assert_allclose(after["matrix"], 2.0 + 0.1 - 0.1 * 0.5 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(after["vector"], 2.0 - 0.1, rtol=1e-6)


def test_adamw_second_step_by_hand():
    trail = run(AdamW(b1=0.5, b2=0.75, eps=0.0).build(constant(1.0)), jnp.zeros(()), [jnp.float32(2), jnp.float32(4)])
    first = (0.5 * (0.5 * 2) + 0.5 * 4) / (1 - 0.5**2)
    second = (0.75 * (0.25 * 4) + 0.25 * 16) / (1 - 0.75**2)
    np.testing.assert_allclose(trail[1], -1 - first / np.sqrt(second), rtol=1e-6)


@pytest.mark.parametrize("optimizer", [AdamW, Adagrad, Adafactor, SGD])
def test_weight_decay_is_decoupled_and_the_mask_is_the_callers(optimizer):
    params = {"kernel": jnp.full((2, 3), 2.0), "stacked_bias": jnp.full((2, 3), 2.0)}
    gradient = {"kernel": jnp.full((2, 3), 0.5), "stacked_bias": jnp.full((2, 3), 0.5)}
    kernels = lambda tree: {name: name == "kernel" for name in tree}  # noqa: E731
    (plain,) = run(optimizer().build(constant(0.1)), params, [gradient])
    (after,) = run(optimizer(weight_decay=0.5).build(constant(0.1), kernels), params, [gradient])
    chex.assert_trees_all_equal(after["stacked_bias"], plain["stacked_bias"])
    np.testing.assert_allclose(after["kernel"], plain["kernel"] - 0.1 * 0.5 * 2.0, rtol=1e-6)
    with pytest.raises(ValueError, match=r"weight_decay .* got -0.1"):
        optimizer(weight_decay=-0.1)


def test_adagrad_divides_by_the_root_of_the_sum():
    trail = run(Adagrad().build(constant(0.5)), jnp.zeros(()), [jnp.float32(3), jnp.float32(4)])
    np.testing.assert_allclose(trail, [-0.5, -0.5 - 0.5 * 4 / 5], rtol=1e-6)


def test_adagrad_step_clip_shrinks_the_step_but_not_the_accumulator():
    gradients = [jnp.array([3.0, 4.0]), jnp.array([0.3, 0.4])]
    trail = run(Adagrad(step_clip=1.0).build(constant(1.0)), jnp.zeros(2), gradients)
    np.testing.assert_allclose(trail[0], -np.ones(2) / 5, rtol=1e-6)
    whole = np.array([0.3, 0.4]) / np.sqrt(np.array([9.09, 16.16]))
    np.testing.assert_allclose(trail[1] - trail[0], -whole, rtol=1e-5)


def test_adafactor_clips_the_root_mean_square_of_its_update_and_caps_its_memory():
    params = jnp.zeros((3, 2))
    (first,) = run(Adafactor().build(constant(0.1)), params, [jnp.full((3, 2), 7.0)])
    np.testing.assert_allclose(first, -0.1, rtol=1e-5)
    capped = Adafactor(decay_cap=0.5).build(constant(0.1))
    state = capped.init(params)
    for value in (1.0, 2.0, 2.0):
        _, state = capped.update(jnp.full((3, 2), value), state, params)
    # 1 - 2**-0.8 = 0.426 is under the cap, 1 - 3**-0.8 = 0.585 is over it.
    second = (1 - 2**-0.8) * 1 + 2**-0.8 * 4
    np.testing.assert_allclose(state[0].whole, 0.5 * second + 0.5 * 4, rtol=1e-5)


def test_relative_steps_of_adafactor_are_as_large_as_the_parameters():
    optimizer = Adafactor(step_size="relative").build(constant(0.1))
    for value, size in ((2.0, 2.0), (1e-5, 1e-3)):
        (first,) = run(optimizer, jnp.full((3, 2), value), [jnp.full((3, 2), 7.0)])
        np.testing.assert_allclose(first, value - 0.1 * size, rtol=1e-4)


def test_adafactor_factors_a_large_matrix():
    state = Adafactor(min_factored=3).build(constant(0.1)).init(jnp.zeros((3, 5)))
    chex.assert_shape([state[0].rows, state[0].columns, state[0].whole], [(3,), (5,), (1,)])


def test_adafactor_gives_each_layer_and_expert_moments_of_its_own():
    optimizer = Adafactor(min_factored=3, update_clip=1e9).build(constant(0.1))
    gradients = jnp.asarray(np.random.default_rng(0).normal(size=(2, 7, 11, 3, 5)), jnp.float32)
    together = run(optimizer, jnp.zeros((7, 11, 3, 5)), gradients)
    alone = run(optimizer, jnp.zeros((3, 5)), gradients[:, 4, 6])
    np.testing.assert_allclose([x[4, 6] for x in together], alone, rtol=1e-5)


def test_adafactor_of_a_matrix_is_that_of_optax():
    rate = lambda step, power: 1.0 - (step + 1.0) ** -power  # noqa: E731
    theirs = optax.scale_by_factored_rms(decay_rate_fn=rate, min_dim_size_to_factor=3)
    ours = scale_by_factored_moments(lambda step: rate(step, 0.8), 3)
    gradients = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3, 5)), jnp.float32)
    np.testing.assert_allclose(*(run(some, jnp.zeros((3, 5)), gradients) for some in (ours, theirs)), rtol=1e-5)


@pytest.mark.parametrize(("nesterov", "second"), [(False, 0.9 * 1 + 1), (True, 1 + 0.9 * (0.9 * 1 + 1))])
def test_sgd_momentum_by_hand(nesterov, second):
    trail = run(SGD(momentum=0.9, nesterov=nesterov).build(constant(0.1)), jnp.zeros(()), [jnp.float32(1)] * 2)
    first = 1 + 0.9 if nesterov else 1
    np.testing.assert_allclose(trail, [-0.1 * first, -0.1 * (first + second)], rtol=1e-6)


def test_clip_norm_is_global_and_comes_first():
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    gradient = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    (after,) = run(chain(SGD().build(constant(1.0)), clip_norm=1.0), params, [gradient])
    chex.assert_trees_all_close(after, {"a": jnp.array([-0.6]), "b": jnp.array([-0.8])}, rtol=1e-6)


def test_constraint_comes_last_and_holds_exactly():
    clamp = lambda tree: jax.tree.map(lambda x: jnp.clip(x, 0, 1), tree)  # noqa: E731
    start = {"span": jnp.array([0.3, 0.1, 0.5])}
    gradient = {"span": jnp.array([-9.0, 9.0, 0.25])}
    (after,) = run(chain(SGD().build(constant(1.0)), constraint=clamp), start, [gradient])
    np.testing.assert_array_equal(after["span"], [1.0, 0.0, 0.25])


def test_the_rate_in_use_is_in_the_state():
    optimizer = AdamW(weight_decay=0.1).build(lambda step: 0.1 / (step + 1))
    state = optimizer.init(jnp.zeros((2, 3)))
    for expected in (0.1, 0.05):
        _, state = optimizer.update(jnp.ones((2, 3)), state, jnp.zeros((2, 3)))
        assert isinstance(state[-1], RateState)
        np.testing.assert_allclose(optax.tree_utils.tree_get(state, "learning_rate"), expected, rtol=1e-6)
