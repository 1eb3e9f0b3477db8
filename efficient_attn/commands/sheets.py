"""What ``sample`` draws of images beside its samples: what was given, how it goes on in truth, and the nearest training images.

A model that has learned its images by heart draws what stands beside its samples.
"""

import dataclasses
from pathlib import Path

import numpy as np

from efficient_attn import data
from efficient_attn.commands.media import Images, Records, Samples, Tokens
from efficient_attn.experiment import Experiment


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prompts:
    """What is continued."""

    given: Samples
    """The beginnings, one for each sample."""
    originals: Records | None = None
    """Of which images they are the beginnings, each once; None: of none."""


def held_out(config: Experiment, split: data.Split, count: int, share: float, seed: int) -> Prompts:
    """The beginnings of images of a split, drawn without repetition.

    Raises:
      ValueError: if it has not as many.
    """
    images = config.source.load(split).records
    if count > len(images):
        raise ValueError(f"{split} has {len(images):,} images, and {count} were asked for")
    chosen = images[np.random.default_rng(seed).choice(len(images), count, replace=False)]
    return Prompts(given=chosen[:, : round(share * chosen.shape[1])], originals=chosen)


def of_file(tokens: Tokens, count: int, share: float) -> Prompts:
    """The beginning of one image, ``count`` times."""
    given = tokens[: round(share * len(tokens))]
    return Prompts(given=np.repeat(given[None], count, axis=0), originals=tokens[None])


def write_sheet(
    medium: Images, file: Path, prompts: Prompts, samples: Samples, training: Records | None, zoom: int
) -> None:
    """A row for each image that was continued: its beginning, its samples, itself, and the training images nearest to the samples.

    Args:
      medium: the kind of images.
      file: the PNG.
      prompts: what was continued; with nothing given, a row for each sample.
      samples: what was drawn.
      training: images of which the nearest ones are shown; None: none are.
      zoom: pixels of the PNG for each pixel, down and across.
    """
    rows = len(samples) if prompts.originals is None else len(prompts.originals)
    own = samples.reshape(rows, -1, samples.shape[1])
    columns = [own[:, n] for n in range(own.shape[1])]
    beside = [] if training is None else [medium.nearest(column, training) for column in columns]
    if prompts.originals is not None:
        given = prompts.given.reshape(rows, own.shape[1], -1)[:, 0]
        columns = [given, *columns, prompts.originals]
    medium.write_beside(file, [*columns, *beside], zoom)
