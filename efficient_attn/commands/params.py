"""``python -m efficient_attn params configs/x.py``: parameters by part, nothing allocated."""

import dataclasses
import json
from typing import Annotated

import tyro

from efficient_attn.experiment import load_config, parameters


@dataclasses.dataclass(frozen=True)
class Args:
    """Which config."""

    config: Annotated[str, tyro.conf.Positional]
    """A config file."""


def main(args: Args) -> None:
    """Prints a line for each part, and a JSON object last."""
    report = parameters(load_config(args.config))
    for name, number in report["parts"].items():
        print(f"{name:<12} {number:>15,}")
    print(json.dumps(report))
