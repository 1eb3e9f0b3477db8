"""Bad input ends in a message that says what was expected and what came."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.training import Mean, StepOptions, check_workdir, fit

from . import toy

CASES = {
    "no steps": (lambda: training.TrainOptions(steps=0), r"steps is a number of steps, at least 1; got 0"),
    "negative log": (lambda: toy.options(5, log_every=-1), r"log_every .* got -1"),
    "never saves": (lambda: toy.options(5, checkpoint_every=0), r"checkpoint_every .* got 0"),
    "accumulation": (lambda: StepOptions(accumulation=0), r"accumulation .* at least 1; got 0"),
    "warm-up too long": (
        lambda: training.Schedule(peak=1.0, warmup_steps=11).build(10),
        r"schedule.warmup_steps=11 is longer than the schedule's 10 steps",
    ),
    "negative warm-up": (lambda: training.Schedule(peak=1.0, warmup_steps=-1), r"warmup_steps .* got -1"),
    "no rate": (lambda: training.Schedule(peak=0.0), r"peak .* positive and finite; got 0.0"),
    "final above peak": (lambda: training.Cosine(final=1.5), r"fraction of the peak rate, in \[0, 1\]; got 1.5"),
    "no power": (lambda: training.Polynomial(power=0.0), r"power must be positive"),
    "b2": (lambda: training.AdamW(b2=1.0), r"b2 must be in \[0, 1.0\); got 1.0"),
    "negative decay": (lambda: training.AdamW(weight_decay=-0.1), r"weight_decay must be in .* got -0.1"),
    "nesterov": (lambda: training.SGD(nesterov=True), r"nesterov=True needs momentum > 0"),
    "clip": (lambda: training.chain(training.SGD().build(lambda s: s), clip_norm=0.0), r"clip_norm .* got 0.0"),
    "step clip": (lambda: training.Adagrad(step_clip=-1.0), r"step_clip .* got -1.0"),
    "ema": (lambda: training.EMA(decay=1.0), r"decay must be in \[0, 1\); got 1.0"),
    "loss scale": (lambda: training.DynamicLossScale(initial=1.0, floor=2.0), r"0 < floor <= initial; got floor=2.0"),
    "keeps none": (lambda: training.Keep(last=0), r"last >= 1"),
    "profile": (lambda: training.Profile(start=0), r"start >= 1"),
    "mesh too large": (
        lambda: training.make_mesh(model=64),
        r"expert \* model \* sequence take 64 devices, and there are \d+",
    ),
    "mesh of some devices": (lambda: training.make_mesh(data=7), r"does not use \d+ devices exactly once"),
    "mesh axis": (lambda: training.make_mesh(model=0), r"mesh axis model needs at least 1 device; got 0"),
}


@pytest.mark.parametrize("case", CASES)
def test_message(case):
    build, message = CASES[case]
    with pytest.raises(ValueError, match=message):
        build()


def test_unknown_field():
    with pytest.raises(TypeError, match="warmup"):
        training.Schedule(peak=1.0, warmup=5)


def test_a_batch_that_does_not_divide(tmp_path):
    options = toy.options(5, step=StepOptions(accumulation=3))
    with pytest.raises(ValueError, match=r"16 rows does not divide into 3 microbatches over .* multiple of"):
        fit(toy.program(), options, tmp_path)


def test_a_batch_with_two_batch_sizes(tmp_path):
    feed = lambda start: iter([toy.batch(0) | {"y": np.zeros((8, 3), np.float32)}])  # noqa: E731
    with pytest.raises(ValueError, match=r"same leading batch axis; got .*'y': 8"):
        fit(toy.program(batches=feed), toy.options(5), tmp_path)


def test_data_that_ends_early(tmp_path):
    feed = lambda start: iter([toy.batch(0), toy.batch(1)])  # noqa: E731
    with pytest.raises(ValueError, match="the data ended before step 3 of 5"):
        fit(toy.program(batches=feed), toy.options(5), tmp_path)


def test_a_run_shorter_than_its_checkpoint(tmp_path):
    fit(toy.program(), toy.options(5), tmp_path)
    with pytest.raises(ValueError, match="is at step 5, beyond steps=3"):
        fit(toy.program(), toy.options(3), tmp_path)


def test_another_optimizer_on_the_same_workdir(tmp_path):
    fit(toy.program(), toy.options(2), tmp_path)
    other = training.SGD(momentum=0.9).build(lambda step: jnp.float32(0.1))
    with pytest.raises(training.CheckpointError, match=r"rest/opt_state/.* in the checkpoint and .* in this run"):
        fit(toy.program(optimizer=other), toy.options(4), tmp_path)


class Mismatched(toy.Regression):
    def __call__(self, params, batch, key, carry):
        return {"other": Mean(jnp.float32(0), jnp.float32(1))}, carry


def test_terms_without_counts(tmp_path):
    with pytest.raises(ValueError, match=r"has terms \['other'\] but counts \['penalty', 'squares'\]"):
        fit(toy.program(objective=Mismatched()), toy.options(2), tmp_path)


def test_a_workdir_of_another_experiment_names_every_differing_field(tmp_path):
    learned = {"model": {"depth": 2, "spans": (3, 5)}, "seed": 0}
    check_workdir(tmp_path, learned, {"steps": 10})
    check_workdir(tmp_path, {"seed": 0, "model": {"spans": [3, 5], "depth": 2}}, {"steps": 20})
    assert json.loads((tmp_path / "config.json").read_text())["runs"] == {"steps": 20}
    other = {"model": {"depth": 3, "spans": (3, 5)}, "optimizer": "adam", "seed": 0}
    with pytest.raises(ValueError, match="another experiment") as caught:
        check_workdir(tmp_path, other, {})
    assert "model.depth: 2 there, 3 here" in str(caught.value)
    assert 'optimizer: absent there, "adam" here' in str(caught.value)
    assert "spans" not in str(caught.value) and "seed" not in str(caught.value)


def test_a_workdir_with_a_broken_config(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json is not the config of a run"):
        check_workdir(tmp_path, {}, {})


def test_a_workdir_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        fit(toy.program(), toy.options(2), tmp_path / "file")


def test_params_that_are_not_a_tree_of_arrays():
    with pytest.raises(TypeError):
        training.TrainState.create({"w": "kernel"}, toy.optimizer(), jax.random.key(0))
