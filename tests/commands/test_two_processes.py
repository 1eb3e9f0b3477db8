"""``train.py`` and ``eval.py`` as two processes: the numbers of one process with as many devices."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from small_run import write_config

ROOT = Path(__file__).parents[2]


def start(*arguments, devices):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", "JAX_NUM_CPU_DEVICES": str(devices)}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe)


def start_two(*arguments, devices=1):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    shared = (*arguments, "--coordinator", address, "--processes", 2)
    return [start(*shared, "--process", index, devices=devices) for index in (0, 1)]


def finish(process):
    """What it printed last, and what it said on standard error."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    return out.decode().splitlines()[-1:], err.decode()


def report(process):
    """Its scores."""
    return json.loads(finish(process)[0][0])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.mark.slow
def test_two_processes_train_stop_and_score_as_one(config, tmp_path):
    run = ("train.py", config, "--steps", 200, "--checkpoint-every", 100, "--eval-batch-size", 3, "--workdir")
    alone = start(*run, tmp_path / "alone", devices=2)
    pair = start_two(*run, tmp_path / "pair")
    metrics = tmp_path / "pair" / "metrics.jsonl"
    waited = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < waited:
        time.sleep(0.02)
    # Only the second process is told to stop; both do, at the same step, which is saved.
    pair[1].send_signal(signal.SIGTERM)
    said = [finish(process)[1] for process in pair]
    stops = [step for text in said for step in re.findall(r"stopped by SIGTERM at step (\d+)", text)]
    assert len(stops) == 2, said
    assert stops[0] == stops[1]
    assert (tmp_path / "pair" / "checkpoints" / stops[0]).is_dir()
    resumed = [report(process) for process in start_two(*run, tmp_path / "pair")]
    straight = report(alone)
    assert resumed[0] == resumed[1]
    assert resumed[0] == {**straight, "workdir": str(tmp_path / "pair")}
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == sorted(steps) and len(steps) == 101
    scored = [report(process) for process in start_two("eval.py", config, "--workdir", tmp_path / "pair")]
    assert scored[0] == scored[1] and scored[0]["loss"] == resumed[0]["loss"]


@pytest.fixture(scope="module")
def routed(tmp_path_factory):
    """The same with a mixture of four experts."""
    config = Path(write_config(tmp_path_factory.mktemp("routed")))
    text = config.read_text().replace("dropout=0.1,", "dropout=0.1, experts=Experts(number=4, group=16),")
    config.write_text(text.replace("import DecoderConfig", "import DecoderConfig, Experts"))
    return str(config)


def losses(workdir):
    """The loss of each step that a run has logged."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


@pytest.mark.slow
def test_two_processes_of_four_devices_are_one_of_eight_and_killed_go_on_over_another_mesh(routed, tmp_path):
    run = ("train.py", routed, "--steps", 40, "--checkpoint-every", 5, "--log-every", 1, "--workdir")
    mesh = ("--mesh.data", 2, "--mesh.expert", 2, "--mesh.model", 2)
    finish(start(*run, tmp_path / "alone", *mesh, devices=8))
    straight = losses(tmp_path / "alone")
    assert sorted(straight) == list(range(1, 41)) and straight[40] < straight[1]
    pair = start_two(*run, tmp_path / "pair", *mesh, devices=4)
    for process in pair:
        finish(process)
    together = losses(tmp_path / "pair")
    np.testing.assert_allclose([together[step] for step in straight], [*straight.values()], rtol=1e-5)
    killed = start_two(*run, tmp_path / "killed", *mesh, devices=4)
    waited = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoints" / "10").is_dir() and time.monotonic() < waited:
        time.sleep(0.02)
    for process in killed:
        process.kill()
        process.communicate()
    assert 10 <= max(losses(tmp_path / "killed")) < 40
    finish(start(*run, tmp_path / "killed", "--mesh.data", 4, "--mesh.expert", 2, devices=8))
    resumed = losses(tmp_path / "killed")
    # Where sums are ordered otherwise a token may go to another expert.
    np.testing.assert_allclose([resumed[step] for step in straight], [*straight.values()], rtol=1e-3)
