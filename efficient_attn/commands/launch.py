"""What ``train.py`` and ``eval.py`` do: read a config and its overrides, run, print one JSON line last."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from efficient_attn import training
from efficient_attn.commands.errors import parser_in_one_line
from efficient_attn.commands.processes import Processes
from efficient_attn.data import Split
from efficient_attn.experiment import evaluate as evaluate_experiment
from efficient_attn.experiment import load_config
from efficient_attn.experiment import train as train_experiment
from efficient_attn.recipe import Recipe


def train(arguments: Sequence[str] | None = None) -> None:
    """Trains, draws the loss curve, and prints the final scores."""
    config, options = _read("train.py", _Train, arguments)
    options.join()
    try:
        report = train_experiment(config, options.workdir)
    except training.Stopped as stopped:
        print(stopped, file=sys.stderr)
        raise
    try:
        if jax.process_index() == 0:
            training.draw_curve(Path(options.workdir))
    except ModuleNotFoundError as error:
        print(f"no loss curve was drawn: {error}", file=sys.stderr)
    print(json.dumps(report))


def evaluate(arguments: Sequence[str] | None = None) -> None:
    """Scores a split and prints the scores."""
    config, options = _read("eval.py", _Evaluate, arguments)
    options.join()
    print(json.dumps(evaluate_experiment(config, options.workdir, options.split, options.predictions)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Train(Processes):
    workdir: str
    """Where checkpoints, logs and the loss curve go; a run that is there already goes on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Evaluate(Processes):
    workdir: str
    """Where the run to score is, or a folder with a checkpoint of ``transformers``, which is scored as it is."""
    split: Split = "validation"
    """Which part of the data is scored."""
    predictions: str | None = None
    """A file for what the model says of each labelled text, as the task's scorer takes it, or, of several tasks, a folder of
    such files; the split need have no labels then."""


def _read(program: str, options: type, arguments: Sequence[str] | None) -> tuple[Recipe, Any]:
    """The config named first, with the fields that the other arguments change, and the program's own options."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments[:1] in (["-h"], ["--help"]):
        print(f"usage: python {program} CONFIG.py --workdir DIR [--field VALUE ...]")
        print(f"python {program} CONFIG.py --help lists the fields of that config.")
        raise SystemExit(0)
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"usage: python {program} CONFIG.py --workdir DIR [--field VALUE ...]; the config comes first")
    config = load_config(arguments[0])
    # The type of every union field is the config's choice: a command line changes its fields, not which mechanism it is.
    experiment = Annotated[tyro.conf.AvoidSubcommands[type(config)], tyro.conf.arg(name="")]
    both = dataclasses.make_dataclass(
        "Arguments",
        [("options", Annotated[options, tyro.conf.arg(name="")]), ("config", experiment, config)],
        kw_only=True,
    )
    with parser_in_one_line():
        read = tyro.cli(
            both, prog=f"{program} {arguments[0]}", description=sys.modules["__main__"].__doc__, args=arguments[1:]
        )
    if not read.options.workdir:
        raise ValueError("--workdir must name a folder, got ''")
    return read.config, read.options
