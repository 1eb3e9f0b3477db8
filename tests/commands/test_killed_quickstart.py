"""The quickstart, killed at random moments and started again, ends with the parameters of a run that was left alone."""

import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from efficient_attn.experiment import load_config, restore

ROOT = Path(__file__).parents[2]
TIMES, STEPS = 20, 480
FLAGS = (
    "--steps",
    str(STEPS),
    "--checkpoint-every",
    "12",
    "--log-every",
    "1",
    "--source.splits",
    "0.98",
    "0.01",
    "0.01",
)

pytestmark = pytest.mark.slow


def start(workdir):
    return subprocess.Popen(
        [sys.executable, "train.py", "configs/quickstart.py", "--workdir", str(workdir), *FLAGS],
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_in_flight(workdir, rng):
    """Kills a run some way beyond its next checkpoint: anywhere in a step, or while that checkpoint is written."""
    process = start(workdir)
    steps = rng.randint(1, 40)
    for line in process.stderr:
        steps -= bool(re.match(r"step +\d+/", line))
        if not steps:
            break
    assert not steps, "the run ended by itself"
    time.sleep(rng.uniform(0, 0.2))
    process.kill()
    process.communicate()


def finish(workdir):
    out, err = start(workdir).communicate()
    assert out, err
    assert json.loads(out.splitlines()[-1])["step"] == STEPS
    return restore(load_config(str(ROOT / "configs/quickstart.py")), str(workdir))[0]


def assert_same_bits(actual, expected):
    np.testing.assert_array_equal(*(np.asarray(x).view(np.uint32) for x in (actual, expected)))


def test_killed_twenty_times_the_quickstart_ends_with_the_same_bits(tmp_path):
    rng = random.Random(7)
    for _ in range(TIMES):
        kill_in_flight(tmp_path / "killed", rng)
    # Refuses trees of different structure.
    jax.tree.map(assert_same_bits, finish(tmp_path / "killed"), finish(tmp_path / "straight"))
