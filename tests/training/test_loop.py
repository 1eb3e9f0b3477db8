"""The loop: a run that stops, or is killed, goes on as if it had not."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import chex
import jax
import numpy as np
import pytest

from efficient_attn import training
from efficient_attn.training import NonFinite, StepOptions, Stopped, fit

from . import toy
from .test_sharding import ROOT, TRAINER


def signalled(step, number):
    """Returns a feed that sends this process a signal while it makes the batch of ``step``."""

    def batches(start):
        for index, batch in enumerate(toy.batches(start), start):
            if index == step:
                os.kill(os.getpid(), number)
            yield batch

    return batches


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_at_7_and_resumed_to_20_is_bit_for_bit_straight_20(tmp_path, number):
    straight = fit(toy.program(), toy.options(20), tmp_path / "straight")
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=rf"{number.name} at step 7") as stopped:
        fit(toy.program(batches=signalled(6, number)), toy.options(20), tmp_path / "resumed")
    assert stopped.value.code == 0 and stopped.value.step == 7
    assert signal.getsignal(number) is before
    resumed = fit(toy.program(), toy.options(20), tmp_path / "resumed")
    chex.assert_trees_all_equal(resumed, straight)
    assert toy.losses(tmp_path / "resumed") == toy.losses(tmp_path / "straight")


def test_a_finished_run_started_again_does_nothing(tmp_path):
    first = fit(toy.program(), toy.options(5), tmp_path)
    again = fit(toy.program(batches=lambda start: iter(())), toy.options(5), tmp_path)
    chex.assert_trees_all_equal(first, again)


class Trained:
    """Counts how often the objective is traced."""

    def __init__(self):
        self.traces = 0

    def objective(self):
        counter = self

        class Counting(toy.Regression):
            def counts(self, batch):
                counter.traces += 1
                return super().counts(batch)

        return Counting(dropout=0.1)


def test_one_trace_from_the_start_and_one_after_a_restart(tmp_path):
    trained = Trained()
    for steps in (6, 12):
        fit(toy.program(objective=trained.objective()), toy.options(steps), tmp_path)
    assert trained.traces == 2


def launch(workdir, **changes):
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(TRAINER), str(workdir), json.dumps(changes)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def wait_for_step(process, step):
    """Reads the trainer's log until it has taken ``step`` steps or ended."""
    for line in process.stderr:
        found = re.match(r"step +(\d+)/", line)
        if found and int(found[1]) >= step:
            return
    raise AssertionError(f"the trainer ended before step {step}")


def kill_often(workdir, times, seed):
    """Kills the trainer ``times`` times, each at a random moment of its next few steps, and lets it finish."""
    rng, steps = random.Random(seed), 6 * times
    settings = {"steps": steps, "checkpoint_every": 2, "seconds": 0.01}
    for _ in range(times):
        process = launch(workdir, **settings)
        saved = max((int(p.name) for p in (workdir / "checkpoints").glob("[0-9]*") if p.name.isdigit()), default=0)
        wait_for_step(process, min(saved + rng.randint(1, 6), steps - 1))
        time.sleep(rng.uniform(0, 0.03))
        process.kill()
        process.communicate()
    resumed = json.loads(finish(launch(workdir, **settings)))
    straight = fit(toy.program(), toy.options(steps), workdir.with_name("straight"))
    assert resumed["digest"] == toy.digest(straight)
    assert toy.losses(workdir) == toy.losses(workdir.with_name("straight"))


def test_killed_five_times_ends_with_the_same_bits(tmp_path):
    kill_often(tmp_path / "killed", times=5, seed=1)


@pytest.mark.slow
def test_killed_twenty_times_ends_with_the_same_bits(tmp_path):
    kill_often(tmp_path / "killed", times=20, seed=2)


def test_sigterm_saves_and_exits_with_status_0(tmp_path):
    process = launch(tmp_path, steps=100_000, checkpoint_every=100_000, seconds=0.005)
    wait_for_step(process, 3)
    process.terminate()
    assert finish(process) == ""
    (saved,) = [int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdigit()]
    assert saved == max(toy.losses(tmp_path)) >= 3


def poisoned(step):
    def batches(start):
        for index, batch in enumerate(toy.batches(start), start):
            yield batch | {"y": batch["y"] * np.nan} if index == step else batch

    return batches


def test_a_nan_stops_the_run_and_names_step_tensor_and_last_good_checkpoint(tmp_path):
    with pytest.raises(NonFinite, match=r"step 8: the gradient of first/bias .*last good checkpoint: step 5 in") as e:
        fit(toy.program(batches=poisoned(7)), toy.options(20), tmp_path)
    assert str(tmp_path) in str(e.value)
    resumed = fit(toy.program(), toy.options(20), tmp_path)
    chex.assert_trees_all_equal(resumed, fit(toy.program(), toy.options(20), tmp_path / "straight"))


def test_a_nan_on_a_step_that_saves_is_not_saved(tmp_path):
    with pytest.raises(NonFinite, match=r"step 5: .*none was saved yet"):
        fit(toy.program(batches=poisoned(4)), toy.options(20), tmp_path)


def test_a_nan_is_skipped_and_logged_if_asked(tmp_path):
    options = toy.options(6, step=StepOptions(on_nonfinite="skip"), log_every=100)
    state = fit(toy.program(batches=poisoned(2)), options, tmp_path)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))
    (row,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (row["step"], row["loss"], row["nonfinite"]) == (3, None, 0)


def test_evaluates_every_k_steps_and_at_the_end_and_keeps_the_best(tmp_path):
    scores = {3: 2.0, 6: 1.0, 9: 3.0, 10: 4.0}
    options = toy.options(10, eval_every=3, checkpoint_every=3, keep=training.Keep(last=1, best=1))
    fit(toy.program(evaluate=lambda state: {"loss": scores[int(state.step)]}), options, tmp_path)
    rows = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert {row["step"]: row["eval/loss"] for row in rows if "eval/loss" in row} == scores
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["10", "6"]


def test_initial_parameters_may_be_a_tree_and_it_is_left_alone(tmp_path):
    tree = toy.params(jax.random.key(3))
    before = jax.device_get(tree)
    fit(toy.program(params=tree), toy.options(2), tmp_path)
    chex.assert_trees_all_equal(tree, before)


def test_profile_writes_a_trace(tmp_path):
    fit(toy.program(), toy.options(4, profile=training.Profile(start=2, count=2)), tmp_path)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))
