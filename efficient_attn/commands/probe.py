"""``python -m efficient_attn probe CONFIG --workdir DIR``: what a linear classifier makes of each layer of an image model."""

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from jaxtyping import Float, Int32, Integer

from efficient_attn import data
from efficient_attn.experiment import Experiment, load_language_model, restore
from efficient_attn.models import DecoderConfig, masked_probe_features, probe_features
from efficient_attn.models.image_gpt import check_probed
from efficient_attn.pixel_experiment import MaskedPixelExperiment, masked_inputs
from efficient_attn.tasks.linear_probe import Fit, Labelled, accuracy, logistic_regression


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, and how it is probed."""

    config: Annotated[str, tyro.conf.Positional]
    """The config that was trained, whose source knows the classes of its images."""
    workdir: str
    """Where the run is."""
    images: int | None = None
    """Images of the training split that the classifier learns from, the first of a drawn order; None: all."""
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Weights of the data against the penalty; of each layer, the best on the validation split is taken."""
    iterations: int = 300
    """The most steps of L-BFGS."""
    batch_size: int = 100
    """Images whose features are computed at a time."""
    seed: int = 0
    """Randomness of the drawn order."""

    def __post_init__(self):
        for name in ("images", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def main(args: Args) -> None:
    """Prints the accuracy on the test split by each layer's features and by raw pixels, and a JSON object last."""
    # What can be refused is refused before features are computed.
    fit = logistic_regression(args.strengths, args.iterations)
    config = load_language_model(args.config)
    report = probe(config, args.workdir, args, fit)
    print(f"{'raw pixels':<12} {report['pixels']:7.2%}")
    for number, share in enumerate(report["layers"]):
        name = "last norm" if number == len(report["layers"]) - 1 else f"block {number}"
        print(f"{name:<12} {share:7.2%}")
    print(json.dumps(report))


def probe(config: Experiment, workdir: str, args: Args, fit: Fit) -> dict[str, Any]:
    """Test accuracies by raw pixels, and by the features of each block and of the last norm.

    Cost: a forward pass of every image, with masks one for each, and as many classifiers as layers; all features are in memory.

    Raises:
      ValueError: if the source knows no classes, or the model is not one of plain blocks.
      FileNotFoundError: if there is no checkpoint.
    """
    if not isinstance(config.source, data.LabelledSource) or type(config.model) is not DecoderConfig:
        raise ValueError(
            "a probe needs a decoder and a source that knows the classes of its images, GreyDigits or PaletteImages; got "
            f"{type(config.model).__name__} and {type(config.source).__name__}"
        )
    check_probed(config.model, config.context)
    params, step = restore(config, workdir)
    train, validation, test = (config.source.labelled(split) for split in data.SPLITS)
    splits = (_some(train, args), validation, test)
    pixels = [Labelled(split.pixels[None] / 255.0, split.labels) for split in splits]
    seen = _seen(config, params, splits, args.batch_size)
    layers = [[Labelled(x[:, n], split.labels) for x, split in zip(seen, splits, strict=True)] for n in _layers(config)]
    return {
        "pixels": _accuracy(fit, *pixels),
        "layers": [_accuracy(fit, *layer) for layer in layers],
        "step": step,
        "images": len(splits[0].labels),
        "data": test.description,
    }


def _layers(config: Experiment) -> range:
    """The blocks and the last norm."""
    return range(config.model.depth + 1)


def _accuracy(fit: Fit, train: Labelled, validation: Labelled, test: Labelled) -> float:
    return accuracy(fit(train, validation), test)


def _some(train: data.LabelledImages, args: Args) -> data.LabelledImages:
    """The images to learn from."""
    order = np.random.default_rng(args.seed).permutation(len(train.labels))[: args.images]
    chosen = {name: getattr(train, name)[order] for name in ("tokens", "pixels", "labels")}
    return dataclasses.replace(train, **chosen)


def _seen(
    config: Experiment, params: Any, splits: Sequence[data.LabelledImages], rows: int
) -> list[Float[np.ndarray, "_ L _ D"]]:
    """Features ``[M, L, count, D]`` of each split: of masks, one to learn from and to choose by, and all to test by."""
    masked = isinstance(config, MaskedPixelExperiment)
    compute = masked_probe_features if masked else probe_features
    step = functools.partial(jax.jit(lambda params, inputs: compute(config.form.module(params), inputs)), params)
    draws = (1, 1, config.eval_masks if masked else 1)
    return [
        np.stack([_over_rows(step, inputs, rows) for inputs in _shown(config, split.tokens, number)])
        for split, number in zip(splits, draws, strict=True)
    ]


def _shown(
    config: Experiment, tokens: Integer[np.ndarray, "count T"], draws: int
) -> list[Int32[np.ndarray, "count T"]]:
    """What the model reads of images: with each of so many masks, or as they are."""
    if isinstance(config, MaskedPixelExperiment):
        return [masked_inputs(config, tokens, number) for number in range(draws)]
    return [tokens.astype(np.int32)]


def _over_rows(step: Any, inputs: Integer[np.ndarray, "count T"], rows: int) -> Float[np.ndarray, "L count D"]:
    """All rows, so many at a time, of which the last are filled up so that one program does."""
    count = len(inputs)
    filled = np.concatenate([inputs, np.zeros((-count % rows, inputs.shape[1]), inputs.dtype)])
    parts = [np.asarray(step(filled[i : i + rows])) for i in range(0, len(filled), rows)]
    return np.concatenate(parts, axis=1)[:, :count]
