"""``python -m efficient_attn compare DIR DIR ...``: finished runs side by side, as a table and a picture of their losses."""

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Annotated

import tyro

from efficient_attn.training.curve import draw_curves, logged


@dataclasses.dataclass(frozen=True)
class Args:
    """Which runs."""

    workdirs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Directories of runs."""
    picture: Path | None = None
    """A PNG to draw the training losses in."""


def main(args: Args) -> None:
    """Prints a row for each run, best first, and the same as JSON last."""
    if not args.workdirs:
        raise ValueError("compare needs the directory of at least one run, got none")
    runs = sorted((_run(workdir) for workdir in args.workdirs), key=lambda run: run["bits"])
    print("| run | steps | bits per token, validation | ms a step |\n|---|---|---|---|")
    for run in runs:
        print(f"| {run['run']} | {run['steps']:,} | {run['bits']:.3f} | {1e3 * run['seconds_per_step']:.0f} |")
    if args.picture is not None:
        draw_curves(args.workdirs, args.picture)
    print(json.dumps(runs))


def _run(workdir: Path) -> dict[str, str | int | float]:
    rows = logged(workdir)
    scored = [row for row in rows if "eval/loss" in row]
    if not scored:
        raise ValueError(f"{workdir} was not evaluated: let its training end first")
    # The first interval compiles.
    times = [row["seconds_per_step"] for row in rows if "seconds_per_step" in row][1:]
    return {
        "run": workdir.name,
        "steps": scored[-1]["step"],
        "bits": scored[-1]["eval/loss"] / math.log(2),
        "seconds_per_step": statistics.median(times) if times else math.nan,
    }
