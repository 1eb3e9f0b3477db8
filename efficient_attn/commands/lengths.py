"""``python -m efficient_attn lengths CONFIG``: how long the labelled texts of a task are, in the tokens of its model."""

import dataclasses
import json
from typing import Annotated, Any

import numpy as np
import tyro

from efficient_attn.data import Split
from efficient_attn.experiment import load_config
from efficient_attn.fine_tuning_experiment import FineTuningExperiment
from efficient_attn.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which task."""

    config: Annotated[str, tyro.conf.Positional]
    """A config file of labelled texts."""
    split: Split = "train"
    """Which part of its data."""


def main(args: Args) -> None:
    """Prints a line for each figure, and a JSON object last."""
    report = lengths(load_config(args.config), args.split)
    for name in ("average", "percentile_95", "longest"):
        print(f"{name:<14} {report[name]:>10,.0f}")
    print(json.dumps(report))


def lengths(config: Recipe, split: Split) -> dict[str, Any]:
    """The average, the 95th percentile and the greatest number of word pieces of an example, both texts of a pair together and
    special tokens not counted; and the share of examples that the config's context cuts or reads in windows.

    Raises:
      ValueError: if the config is of no labelled texts.
    """
    if not isinstance(config, FineTuningExperiment):
        raise ValueError(f"lengths are counted of labelled texts, and {type(config).__name__} has none")
    texts, reading = config.source.load(split), config.reading
    firsts, seconds = reading.texts(texts)
    found, room = reading.pieces.lengths(firsts, seconds), reading.pieces.room(seconds is not None)
    return {
        "average": float(found.mean()),
        "percentile_95": float(np.percentile(found, 95)),
        "longest": int(found.max()),
        "over_context": float(np.mean(found > room)),
        "examples": len(found),
        "data": texts.description,
    }
