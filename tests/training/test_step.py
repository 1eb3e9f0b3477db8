"""The step: accumulation, averages, loss scaling, bad numbers, one trace."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.training import (
    EMA,
    SGD,
    DynamicLossScale,
    Mean,
    Placement,
    StepOptions,
    TrainState,
    make_eval_step,
    make_mesh,
    make_train_step,
)
from efficient_attn.training.step import CLEAN

from . import toy


def begin(options, objective=None, optimizer=None):
    """Returns a compiled step and the first state on one device."""
    placement = Placement(mesh=make_mesh(devices=jax.devices()[:1]))
    optimizer = optimizer or toy.optimizer()
    state = TrainState.create(
        toy.params(jax.random.key(0)),
        optimizer,
        jax.random.key(1),
        carry=toy.memory(),
        average=options.ema is not None,
        loss_scale=options.loss_scale,
    )
    step = make_train_step(objective or toy.Regression(), optimizer, options, placement, state)
    return step, placement.put(state, optimizer)


def walk(options, steps=4, **parts):
    """Returns the state and the metrics of the last step."""
    step, state = begin(options, **parts)
    for n in range(steps):
        state, metrics = step(state, toy.batch(n))
    return state, metrics


def test_accumulation_over_very_uneven_counts_equals_the_whole_batch():
    whole, metrics = walk(StepOptions())
    for parts in (2, 16):
        split, split_metrics = walk(StepOptions(accumulation=parts))
        chex.assert_trees_all_close(split.params, whole.params, atol=1e-6)
        chex.assert_trees_all_close(split.carry, whole.carry, atol=1e-6)
        chex.assert_trees_all_close(split_metrics, metrics, atol=2e-6, rtol=2e-6)


def test_loss_is_the_sum_of_means_over_the_whole_batch():
    _, metrics = walk(StepOptions(accumulation=4), steps=1)
    terms, _ = toy.Regression()(toy.params(jax.random.key(0)), toy.batch(0), None, toy.memory())
    expected = sum(term.sum / term.count for term in terms.values())
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-6)
    chex.assert_trees_all_close(metrics["terms"], jax.tree.map(jnp.float32, terms), rtol=1e-6)
    chex.assert_shape(jax.tree.leaves(metrics), ())


def test_a_batch_in_which_nothing_counts_changes_no_number_to_nan():
    step, state = begin(StepOptions())
    state, metrics = step(state, toy.batch(0) | {"valid": np.zeros((toy.ROWS, toy.LENGTH), np.float32)})
    assert int(metrics["nonfinite"]) == CLEAN
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_the_average_follows_the_parameters():
    step, state = begin(StepOptions(ema=EMA(decay=0.75)), optimizer=SGD().build(lambda _: 0.1))
    before = jax.device_get(state.params)
    state, _ = step(state, toy.batch(0))
    expected = jax.tree.map(lambda a, p: 0.75 * a + 0.25 * p, before, state.params)
    chex.assert_trees_all_close(state.ema, expected, rtol=1e-6)
    assert state.evaluated is state.ema


def test_the_steps_number_alone_decides_its_randomness():
    _, first = walk(StepOptions(), steps=1, objective=toy.Regression(dropout=0.5))
    _, again = walk(StepOptions(), steps=1, objective=toy.Regression(dropout=0.5))
    assert first["loss"] == again["loss"]
    step, state = begin(StepOptions(), objective=toy.Regression(dropout=0.5))
    later, _ = step(TrainState(**(vars(state) | {"step": jnp.asarray(5, jnp.int32)})), toy.batch(0))
    assert int(later.step) == 6
    assert not np.array_equal(later.params["first"]["kernel"], walk(StepOptions(), 1)[0].params["first"]["kernel"])


def poison(batch):
    return batch | {"y": np.full_like(batch["y"], np.nan)}


def test_a_nan_is_reported_with_its_tensor_and_never_applied():
    step, state = begin(StepOptions(ema=EMA()))
    state, _ = step(state, toy.batch(0))
    before = jax.device_get(state)
    state, metrics = step(state, poison(toy.batch(1)))
    assert int(metrics["nonfinite"]) == 0
    assert int(state.step) == 2
    for name in ("params", "opt_state", "ema", "carry"):
        chex.assert_trees_all_equal(jax.device_get(getattr(state, name)), getattr(before, name))


class OneBadTensor(toy.Regression):
    """Its loss is finite and the gradient of ``second/kernel`` is not: the derivative of sqrt at 0."""

    def __call__(self, params, batch, key, carry):
        terms, carry = super().__call__(params, batch, key, carry)
        kernel = params["second"]["kernel"]
        zero = jnp.sqrt(jnp.sum(kernel - jax.lax.stop_gradient(kernel)))
        return terms | {"squares": Mean(terms["squares"].sum + zero, terms["squares"].count)}, carry


def test_the_index_names_the_first_bad_tensor():
    _, metrics = walk(StepOptions(), steps=1, objective=OneBadTensor())
    assert np.isfinite(metrics["loss"])
    assert int(metrics["nonfinite"]) == 2


def test_float16_scale_skips_and_halves_on_overflow_and_doubles_after_clean_steps():
    scaling = DynamicLossScale(initial=2.0**16, growth_interval=2)
    step, state = begin(StepOptions(loss_scale=scaling), objective=toy.Regression(dtype="float16"))
    scales, skipped = [], []
    for n in range(12):
        before = jax.device_get(state.params)
        state, metrics = step(state, toy.batch(n))
        scales.append(float(metrics["loss_scale"]))
        skipped.append(int(metrics["nonfinite"]) != CLEAN)
        assert skipped[-1] == all(map(np.array_equal, jax.tree.leaves(before), jax.tree.leaves(state.params)))
    assert scales[0] == 2.0**16
    assert any(skipped) and not all(skipped)
    for now, then, bad in zip(scales, scales[1:], skipped, strict=False):
        assert then == now / 2 if bad else then in (now, 2 * now)


def test_loss_scaling_changes_no_gradient():
    plain, _ = walk(StepOptions())
    scaled, _ = walk(StepOptions(loss_scale=DynamicLossScale(), accumulation=2))
    chex.assert_trees_all_close(plain.params, scaled.params, atol=1e-6)


def test_the_scale_stops_at_its_floor():
    scaling = DynamicLossScale(initial=4.0, floor=2.0)
    state = scaling.create()
    for _ in range(3):
        state = scaling.update(state, jnp.asarray(False))
    assert float(state.scale) == 2.0


def test_one_compilation_serves_every_step():
    step, state = begin(StepOptions(accumulation=2, ema=EMA()), objective=toy.Regression(dropout=0.1))
    for n in range(4):
        state, _ = step(state, toy.batch(n))
    assert step._cache_size() == 1


def test_evaluation_is_the_same_loss_without_dropout():
    evaluate = make_eval_step(toy.Regression(dropout=0.5), Placement(mesh=make_mesh(devices=jax.devices()[:1])))
    terms, carry = evaluate(toy.params(jax.random.key(0)), toy.batch(0), toy.memory())
    expected, _ = toy.Regression()(toy.params(jax.random.key(0)), toy.batch(0), None, toy.memory())
    chex.assert_trees_all_close(terms, expected, rtol=1e-6)
    chex.assert_shape(carry["memory"], (toy.ROWS, toy.HIDDEN))


@pytest.mark.parametrize("options", [StepOptions(), StepOptions(accumulation=2)])
def test_the_given_state_is_donated(options):
    step, state = begin(options)
    step(state, toy.batch(0))
    assert state.params["first"]["kernel"].is_deleted()
