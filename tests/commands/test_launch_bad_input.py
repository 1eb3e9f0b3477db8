"""Bad requests to ``train.py``, ``eval.py``, ``sample`` and ``params``: one line that says what is wrong, and a status."""

import re
from pathlib import Path

import pytest
from small_run import write_config

from efficient_attn.__main__ import main
from efficient_attn.commands import errors, launch
from efficient_attn.experiment import load_config
from efficient_attn.experiment import train as train_experiment


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Paths that the cases below name: good and bad config files, a trained run, folders."""
    folder = tmp_path_factory.mktemp("bad_input")
    config = write_config(folder)
    good = Path(config).read_text()
    files = {
        "no_config": "x = 1\n",
        "other_type": "CONFIG = {'depth': 3}\n",
        "broken": "CONFIG = (\n",
        "empty_text": good.replace("text.txt", "empty.txt"),
        "no_text": good.replace("text.txt", "absent.txt"),
        "synthesized": re.sub(r"Sparse\(.*?\)\",\)\)", "Synthesizer(length=32)", good).replace("Sparse", "Synthesizer"),
        "hashed": re.sub(r"Sparse\(.*?\)\",\)\)", "LSH(chunk=8)", good).replace("Sparse", "LSH"),
        "tfds": good.replace("TextFiles", "TFDSText").replace("path=", 'name="lm1b", data_dir='),
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "empty.txt").write_bytes(b"")
    (folder / "unfinished" / "checkpoints").mkdir(parents=True)
    (folder / "a_file").write_text("")
    run = folder / "run"
    train_experiment(load_config(config), str(run))
    return {
        "config": config,
        "run": str(run),
        "absent": str(folder / "absent"),
        "new": str(folder / "new"),
        "a_file": str(folder / "a_file"),
        "unfinished": str(folder / "unfinished"),
        **{name: str(folder / f"{name}.py") for name in files},
    }


def training(flags, config="config"):
    return f"train {{{config}}} --workdir {{new}} {flags}".strip()


# Arguments, with {names} of the fixture above; and a part of the message.
CASES = {
    "mesh of no device": (
        training("--mesh.expert 0"),
        "mesh.expert must be at least 1 device, got 0",
    ),
    "heads over the mesh": (
        training("--mesh.model 4"),
        "mesh.model must divide the 2 key heads, got 4",
    ),
    "tokens over the mesh": (
        training("--mesh.sequence 3"),
        "mesh.sequence must divide the 32 tokens of the context, got 3",
    ),
    "a sequence that a mechanism needs whole": (
        training("--mesh.sequence 2", "synthesized"),
        "Synthesizer needs whole sequences on every device: mesh.sequence must be 1, got 2",
    ),
    "heads over the mesh of a sequence": (
        training("--mesh.sequence 4", "hashed"),
        "mesh.model * mesh.sequence must divide the 2 heads, got 1 * 4",
    ),
    "a sequence that an evaluation needs whole": (
        "eval {synthesized} --workdir {run} --mesh.sequence 2",
        "mesh.sequence must be 1, got 2",
    ),
    "a start without a run": (training("--start {absent}"), "has no checkpoints: train first"),
    "a start of another size": (
        "train {config} --workdir {new} --start {run} --model.width 32",
        "has parameters of other shapes than the model's",
    ),
    "no arguments": ("train", "the config comes first"),
    "options first": ("train --workdir {new}", "the config comes first"),
    "missing config": ("train {absent}.py --workdir {new}", "there is no config file"),
    "config without CONFIG": (training("", "no_config"), "must define CONFIG, an Experiment; got NoneType"),
    "CONFIG of another type": (training("", "other_type"), "got dict"),
    "syntax error": (training("", "broken"), "is not a config: "),
    "negative steps": (training("--steps -1"), "steps must be at least 1, got -1"),
    "no batch": (training("--batch-size 0"), "batch_size must be at least 1, got 0"),
    "context beyond positions": (training("--context 65"), "positions for 64 tokens, got a context of 65"),
    "smoothing of 1": (training("--label-smoothing 1"), "label_smoothing must be in [0, 1), got 1.0"),
    "scored beyond context": (training("--eval-scored 33"), "eval_scored must be in 1..context (32), got 33"),
    "batch that does not divide": (training("--accumulation 3"), "3"),
    "text shorter than a window": (training("--context 3000 --model.positions.sizes 3000"), "tokens are needed"),
    "mesh of 7 devices": (training("--mesh.data 7"), "7"),
    "half of the processes' fields": (
        training("--processes 2 --process 0"),
        "coordinator, processes and process come together; missing: coordinator",
    ),
    "a process beyond the last": (
        training("--coordinator localhost:1 --processes 2 --process 2"),
        "process must be in 0..1, got 2",
    ),
    "processes found and given": (
        training("--cluster --coordinator localhost:1 --processes 2 --process 1"),
        "cluster finds the processes by itself",
    ),
    "negative log interval": (training("--log-every -2"), "log_every is a number of steps, at least 1; got -2"),
    "empty file": (training("", "empty_text"), "empty.txt"),
    "missing text": (training("", "no_text"), "absent.txt"),
    "missing data of TFDS": (training("", "tfds"), "lm1b"),
    "workdir is a file": ("train {config} --workdir {a_file}", "a_file"),
    "another experiment": ("train {config} --workdir {run} --seed 3", "seed: 0 there, 3 here"),
    "fewer steps than saved": ("train {config} --workdir {run} --steps 2", "is at step 6, beyond steps=2"),
    "eval without a run": ("eval {config} --workdir {absent}", "has no checkpoints: train first"),
    "eval of an unfinished run": ("eval {config} --workdir {unfinished}", "has no complete checkpoint: train first"),
    "eval of another model": ("eval {config} --workdir {run} --model.width 32", "another model: width differ"),
    "sample without a run": ("sample --config {config} --workdir {absent}", "has no checkpoints: train first"),
    "long prompt": ("sample --config {config} --workdir {run} --prompt abcde --length 4", "the prompt has 5 tokens"),
    "no length": ("sample --config {config} --workdir {run} --length 0", "length must be at least 1, got 0"),
    "no sample": ("sample --config {config} --workdir {run} --count 0", "count must be at least 1, got 0"),
    "a picture of text": (
        "sample --config {config} --workdir {run} --out {new}.png",
        "--out must have no suffix or .txt",
    ),
    "a folder that is not there": (
        "sample --config {config} --workdir {run} --out {absent}/a.txt",
        "there is no folder for",
    ),
    "two prompts": (
        "sample --config {config} --workdir {run} --prompt a --prompt-file {config}",
        "name one of what is continued",
    ),
    "a share of nothing": (
        "sample --config {config} --workdir {run} --share 0.5",
        "share is that of a prompt_file or of a prompt_split, and none was",
    ),
    "more than a file": (
        "sample --config {config} --workdir {run} --prompt-file {config} --share 2",
        "share must be in [0, 1], got 2.0",
    ),
    "no prompt file": ("sample --config {config} --workdir {run} --prompt-file {absent}", "absent"),
    "length beyond positions": ("sample --config {config} --workdir {run} --length 65", "positions for 64 tokens"),
    "top_p": ("sample --config {config} --workdir {run} --top-p 1.5", "top_p must be in (0, 1], got 1.5"),
    "top_k": ("sample --config {config} --workdir {run} --top-k 0", "top_k must be at least 1, got 0"),
    "temperature": ("sample --config {config} --workdir {run} --temperature -1", "temperature must be at least 0"),
    "params of a missing config": ("params {absent}.py", "there is no config file"),
    "params of no such variant": ("params {config}:dilated", "has no variant 'dilated'; those in its VARIANTS: none"),
    "params of no config": ("params {no_config}", "must define CONFIG"),
    "heads that do not divide": (training("--model.heads 3"), "heads must divide width and qk_width, got heads=3"),
    "key heads that do not divide": (training("--model.key-heads 3"), "key_heads must divide heads"),
    "dropout of 1": (training("--model.dropout 1"), "dropout must be in [0, 1), got 1.0"),
    "unknown pattern": (training("--model.attention.patterns Casual()"), "no pattern is called 'Casual'"),
    "no pattern": (training("--model.attention.patterns Causal"), "Causal is a pattern's name"),
    "window below 0": (training("--model.attention.patterns Window(left=-1)"), "-1"),
    "heads of PerHead": (training("--model.attention.patterns PerHead([Causal()])"), "for each of 2 heads, got 1"),
    "negative rate": (training("--schedule.peak -1"), "-1"),
    "a rate that is no number": (training("--schedule.peak nan"), "must be positive and finite; got nan"),
    "empty workdir": ("train {config} --workdir=", "--workdir must name a folder, got ''"),
    "unknown flag": (training("--stepz 3"), "stepz"),
    "a word for a number": (training("--steps many"), "many"),
    "missing workdir": ("train {config}", "workdir"),
    "unknown split": ("eval {config} --workdir {run} --split dev", "dev"),
    "unknown norm": (training("--model.norm middle"), "middle"),
}


def call(text, names):
    program, *arguments = (word.format(**names) for word in text.split())
    if program in ("train", "eval"):
        program = launch.train if program == "train" else launch.evaluate
        errors.run(lambda: program(arguments))
    else:
        main([program, *arguments])


def refused(text, names, capsys):
    """Standard error of a call that must end with status 2 and print no result."""
    with pytest.raises(SystemExit) as stop:
        call(text, names)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    return err


@pytest.mark.parametrize("name", CASES)
def test_a_bad_request_is_refused_in_one_line(name, names, capsys):
    text, message = CASES[name]
    (line,) = refused(text, names, capsys).splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_a_refused_run_does_not_claim_its_workdir(names, tmp_path, capsys):
    workdir = tmp_path / "run"
    bad = {"config": ("--accumulation 3", "--log-every -2", "--mesh.data 7"), "hashed": ("--mesh.sequence 4",)}
    for config, each in bad.items():
        for flags in each:
            refused(f"train {{{config}}} --workdir {workdir} {flags}", names, capsys)
    assert not (workdir / "config.json").exists()
