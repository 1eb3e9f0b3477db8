"""``train.py``, ``eval.py`` and ``sample`` as their users call them: what is printed, written, resumed and refused."""

import contextlib
import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_run import write_config

from efficient_attn.commands import launch

ROOT = Path(__file__).parents[2]


def start(*arguments):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=pipe, stderr=pipe)


def finish(process, status=0):
    out, err = process.communicate(timeout=120)
    assert process.returncode == status, err.decode()
    return out, err.decode()


def train(config, workdir, *flags):
    out, _ = finish(start("train.py", config, "--workdir", str(workdir), *flags))
    return json.loads(out.decode().splitlines()[-1])


def reported(program, config, workdir, *flags):
    """The report of a program of ``launch``, in this process, which spares the import of everything."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        program([config, "--workdir", str(workdir), *flags])
    return json.loads(printed.getvalue().splitlines()[-1])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="module")
def straight(config, tmp_path_factory):
    """A run of 6 steps at once: its directory and its report."""
    workdir = tmp_path_factory.mktemp("runs") / "straight"
    return workdir, train(config, workdir)


def test_a_run_reports_its_scores_and_leaves_its_files(straight):
    workdir, report = straight
    assert report["step"] == 6
    assert report["workdir"] == str(workdir)
    assert report["bits_per_byte"] == pytest.approx(report["loss"] / math.log(2))
    assert 0 < report["loss"] < math.log(256)
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "loss" in row] == [2, 4, 6]
    assert rows[-1]["eval/loss"] == report["loss"]
    pytest.importorskip("matplotlib")
    assert (workdir / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_goes_on_over_another_mesh(straight, config, tmp_path):
    run = tmp_path / "moved"
    reported(launch.train, config, run, "--steps", "2", "--mesh.model", "2", "--mesh.fsdp")
    report = reported(launch.train, config, run, "--mesh.data", "4", "--mesh.expert", "2")
    assert report["loss"] == pytest.approx(straight[1]["loss"], rel=1e-5)
    scored = reported(launch.evaluate, config, run, "--split", "validation", "--mesh.model", "2")
    assert scored["loss"] == pytest.approx(report["loss"], rel=1e-5)


def test_a_run_begins_where_another_ended(straight, config, tmp_path):
    flags = ["--start", str(straight[0]), "--steps", "1", "--schedule.peak", "1e-9", "--context", "16"]
    report = reported(launch.train, config, tmp_path / "next", *flags, "--schedule.warmup-steps", "0")
    scored = reported(launch.evaluate, config, straight[0], "--context", "16")
    assert report["loss"] == pytest.approx(scored["loss"], rel=1e-5)


def test_eval_scores_a_split(straight, config):
    workdir, report = straight
    out, _ = finish(start("eval.py", config, "--workdir", str(workdir)))
    scores = json.loads(out.decode().splitlines()[-1])
    assert {"bits_per_byte", "xz_bits", "loss", "tokens", "step", "split", "data"} <= set(scores)
    assert (scores["step"], scores["split"], scores["tokens"]) == (6, "validation", report["tokens"])
    assert scores["loss"] == pytest.approx(report["loss"], rel=1e-6)


def test_sample_writes_the_prompt_and_what_follows(straight, config):
    arguments = ["--config", config, "--workdir", str(straight[0]), "--prompt", "it was é", "--length", "40"]
    out, _ = finish(start("-m", "efficient_attn", "sample", *arguments, "--top-k", "20"))
    assert out.startswith("it was é".encode())
    assert (len(out), out[-1:]) == (41, b"\n")


def test_a_resumed_run_is_bit_for_bit_the_straight_one(straight, config, tmp_path):
    # How a run goes may change on the way: its length, how often it is saved and logged.
    flags = ["--steps", "3", "--checkpoint-every", "1", "--log-every", "1"]
    half = reported(launch.train, config, tmp_path / "run", *flags)
    assert half["step"] == 3
    whole = train(config, tmp_path / "run", "--steps", "6")
    assert whole == {**straight[1], "workdir": str(tmp_path / "run")}


def test_another_experiment_is_refused(straight, config):
    arguments = ["--workdir", str(straight[0]), "--seed", "1", "--schedule.peak", "0.5"]
    out, err = finish(start("train.py", config, *arguments), status=2)
    assert out == b""
    (line,) = err.splitlines()
    assert "holds another experiment" in line
    assert "seed: 0 there, 1 here" in line
    assert "schedule.peak: 0.01 there, 0.5 here" in line


def test_a_terminated_run_saves_and_goes_on(config, tmp_path):
    workdir = tmp_path / "run"
    process = start(
        "train.py", config, "--workdir", str(workdir), "--steps", "1000000", "--checkpoint-every", "1000000"
    )
    metrics, deadline = workdir / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().strip()):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    finish(process)
    (saved,) = (int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
    assert saved >= 2
    assert reported(launch.train, config, workdir, "--steps", str(saved + 2))["step"] == saved + 2
