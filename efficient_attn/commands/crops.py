"""``python -m efficient_attn crops CONFIG``: crop and scale the images of a config to the squares that it reads."""

import dataclasses
import json
from typing import Annotated

import rich.console
import rich.progress
import tyro

from efficient_attn.data import CroppedImages
from efficient_attn.experiment import load_config


@dataclasses.dataclass(frozen=True)
class Args:
    """Which config."""

    config: Annotated[str, tyro.conf.Positional]
    """A config whose images are ``CroppedImages``, of whatever else."""


def main(args: Args) -> None:
    """Writes the folder of squares, and prints what it holds as a JSON object.

    Raises:
      FileExistsError: if the folder holds squares already.
      ValueError: if the config reads no squares.
    """
    source = squares(load_config(args.config).source, args.config)
    with rich.progress.Progress(console=rich.console.Console(stderr=True), transient=True) as shown:
        tasks = {}

        def seen(split: str, done: int, count: int) -> None:
            if split not in tasks:
                tasks[split] = shown.add_task(split, total=count)
            shown.update(tasks[split], completed=done)

        counts = source.prepare(seen)
    print(json.dumps({"folder": str(source.prepared), "size": source.size, **counts}))


def squares(source: object, path: str) -> CroppedImages:
    """The squares that a source is made of.

    Raises:
      ValueError: if it is of none.
    """
    inner = source
    while not isinstance(inner, CroppedImages):
        inner = getattr(inner, "images", None)
        if inner is None:
            raise ValueError(f"a config that reads CroppedImages is needed, and {path} reads {type(source).__name__}")
    return inner
