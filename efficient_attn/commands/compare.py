"""``python -m efficient_attn compare DIR DIR ...``: finished runs side by side, as a table and a picture of their losses."""

import dataclasses
import json
import math
import statistics
from pathlib import Path
from typing import Annotated, Any

import tyro

from efficient_attn.training.curve import draw_curves, logged

# What runs are ranked by, and its name in the table.
_MEASURES = {"bits": "bits per token", "loss": "loss"}


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
    runs = [_run(workdir) for workdir in args.workdirs]
    measures = sorted({name for run in runs for name in _MEASURES if name in run})
    if len(measures) > 1:
        raise ValueError(f"runs that are scored in {' and in '.join(measures)} cannot be compared")
    (measure,) = measures
    runs = sorted(runs, key=lambda run: run[measure])
    print(f"| run | steps | {_MEASURES[measure]}, validation | ms a step |\n|---|---|---|---|")
    for run in runs:
        print(f"| {run['run']} | {run['steps']:,} | {run[measure]:.3f} | {1e3 * run['seconds_per_step']:.0f} |")
    if args.picture is not None:
        draw_curves(args.workdirs, args.picture)
    print(json.dumps(runs))


def _run(workdir: Path) -> dict[str, Any]:
    rows = logged(workdir)
    scored = [row for row in rows if "eval/loss" in row]
    if not scored:
        raise ValueError(f"{workdir} was not evaluated: let its training end first")
    # The first interval compiles.
    times = [row["seconds_per_step"] for row in rows if "seconds_per_step" in row][1:]
    return {
        "run": workdir.name,
        "steps": scored[-1]["step"],
        **_scores(scored[-1]),
        "seconds_per_step": statistics.median(times) if times else math.nan,
    }


def _scores(row: dict[str, Any]) -> dict[str, float]:
    """Bits of a token, or where sequences are predicted from as a whole, their loss and accuracy."""
    if "eval/examples" not in row:
        return {"bits": row["eval/loss"] / math.log(2)}
    return {name: row[f"eval/{name}"] for name in ("loss", "accuracy") if f"eval/{name}" in row}
