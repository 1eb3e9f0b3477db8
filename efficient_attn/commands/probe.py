"""``python -m efficient_attn probe CONFIG --workdir DIR``: what a linear classifier makes of each layer of an image model."""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from jaxtyping import Float, Int32, Integer

from efficient_attn import data
from efficient_attn.experiment import Experiment, load_config, load_language_model, restore
from efficient_attn.models import DecoderConfig, masked_probe_features, probe_features
from efficient_attn.models.image_gpt import check_probed
from efficient_attn.pixel_experiment import MaskedPixelExperiment, masked_inputs
from efficient_attn.tasks.linear_probe import Fit, Labelled, accuracy, logistic_regression
from efficient_attn.tasks.probe_descent import gradient_descent
from efficient_attn.training.curve import figure_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, and how it is probed."""

    config: Annotated[str, tyro.conf.Positional]
    """The config that was trained."""
    workdir: str
    """Where the run is."""
    data: str | None = None
    """A config whose images are probed, and of which nothing else is read; None: the one that was trained."""
    images: int | None = None
    """Images of the training split that the classifier learns from, the first of a drawn order; None: all."""
    strengths: tuple[float, ...] = (0.01, 0.1, 1.0)
    """Weights of the data against the penalty; of each layer, the best on the validation split is taken."""
    iterations: int = 300
    """The most steps of L-BFGS."""
    rates: tuple[float, ...] = ()
    """Learning rates of stochastic gradient descent in place of L-BFGS, of which the best on the validation split is taken."""
    descent_steps: int = 10_000
    """Updates of stochastic gradient descent."""
    layers: tuple[int, ...] | None = None
    """Blocks that are probed, from 0; the number of blocks is the last norm. None: all, whose features are in memory together."""
    together: int = 1
    """Blocks that follow each other in ``layers`` whose features are classified as one."""
    batch_size: int = 100
    """Images whose features are computed at a time."""
    seed: int = 0
    """Randomness of the drawn order."""
    picture: Path | None = None
    """A PNG of accuracy over depth."""

    def __post_init__(self):
        for name in ("images", "batch_size", "together"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


def main(args: Args) -> None:
    """Prints the accuracy on the test split by each layer's features and by raw pixels, and a JSON object last."""
    # What can be refused is refused before features are computed.
    descent = gradient_descent(args.rates, args.descent_steps, args.seed) if args.rates else None
    fit = descent or logistic_regression(args.strengths, args.iterations)
    config = load_language_model(args.config)
    report = probe(config, args.workdir, args, fit)
    print(f"{'raw pixels':<12} {report['pixels']:7.2%}")
    for number, share in zip(report["probed"], report["layers"], strict=True):
        name = "last norm" if number == config.model.depth else f"block {number}"
        name += f" and {args.together - 1} after" if args.together > 1 else ""
        print(f"{name:<12} {share:7.2%}")
    if args.picture is not None:
        _draw(args.picture, report)
    print(json.dumps(report))


def probe(config: Experiment, workdir: str, args: Args, fit: Fit) -> dict[str, Any]:
    """Test accuracies by raw pixels, and by the features of each block and of the last norm.

    Cost: a forward pass of every image, with masks one for each, and as many classifiers as layers; all features are in memory.

    Raises:
      ValueError: if the source knows no classes, its images are not the model's, or the model is not one of plain blocks.
      FileNotFoundError: if there is no checkpoint.
    """
    source = config.source if args.data is None else load_config(args.data).source
    if not isinstance(source, data.LabelledSource | data.ImageClasses) or type(config.model) is not DecoderConfig:
        raise ValueError(
            "a probe needs a decoder and a source that knows the classes of its images, as an ImageFolder; got "
            f"{type(config.model).__name__} and {type(source).__name__}"
        )
    check_probed(config.model, config.context)
    layers = _layers(config, args)
    params, step = restore(config, workdir)
    read = source.load if isinstance(source, data.ImageClasses) else source.labelled
    train, validation, test = (_checked(read(split), config) for split in data.SPLITS)
    splits = (_some(train, args), validation, test)
    pixels = [Labelled(split.pixels[None] / 255.0, split.labels) for split in splits]
    seen = _seen(config, params, splits, layers, args.batch_size)
    begins = range(len(layers) - args.together + 1)
    features = [[_together(x, n, args.together, s.labels) for x, s in zip(seen, splits, strict=True)] for n in begins]
    return {
        "pixels": _accuracy(fit, *pixels),
        "layers": [_accuracy(fit, *layer) for layer in features],
        "probed": [layers[begin] for begin in begins],
        "step": step,
        "images": len(splits[0].labels),
        "data": test.description,
    }


def _checked(images: data.LabelledImages, config: Experiment) -> data.LabelledImages:
    found, wanted = (images.tokens.shape[1], images.vocab_size), (config.context, config.model.vocab)
    if found != wanted:
        raise ValueError(
            f"images of the model have context={wanted[0]} and vocab={wanted[1]}, and those that are probed {found}"
        )
    return images


def _together(features: Float[np.ndarray, "M L count D"], first: int, count: int, labels: np.ndarray) -> Labelled:
    """The features of some layers side by side."""
    return Labelled(np.concatenate([features[:, n] for n in range(first, first + count)], axis=-1), labels)


def _layers(config: Experiment, args: Args) -> list[int]:
    """The blocks and the last norm, or some of them."""
    depth = config.model.depth
    for layer in args.layers or ():
        if not 0 <= layer <= depth:
            raise ValueError(f"layers must be in 0..{depth}, the last norm, got {layer}")
    chosen = list(range(depth + 1) if args.layers is None else args.layers)
    if len(chosen) < args.together:
        raise ValueError(f"together must be at most the {len(chosen)} layers that are probed, got {args.together}")
    return chosen


def _draw(file: Path, report: Mapping[str, Any]) -> None:
    """The accuracy of each layer beside that of raw pixels."""
    figure, axes = figure_of("block", "test accuracy")
    axes.plot(report["probed"], report["layers"], marker="o", markersize=3, label="features")
    axes.axhline(report["pixels"], linestyle="--", color="grey", label="raw pixels")
    axes.legend()
    figure.savefig(file, dpi=120)


def _accuracy(fit: Fit, train: Labelled, validation: Labelled, test: Labelled) -> float:
    return accuracy(fit(train, validation), test)


def _some(train: data.LabelledImages, args: Args) -> data.LabelledImages:
    """The images to learn from."""
    order = np.random.default_rng(args.seed).permutation(len(train.labels))[: args.images]
    chosen = {name: getattr(train, name)[order] for name in ("tokens", "pixels", "labels")}
    return dataclasses.replace(train, **chosen)


def _seen(
    config: Experiment, params: Any, splits: Sequence[data.LabelledImages], layers: Sequence[int], rows: int
) -> list[Float[np.ndarray, "_ L _ D"]]:
    """Features ``[M, L, count, D]`` of each split: of masks, one to learn from and to choose by, and all to test by."""
    masked = isinstance(config, MaskedPixelExperiment)
    compute = masked_probe_features if masked else probe_features
    kept = np.array(layers)
    step = functools.partial(jax.jit(lambda params, inputs: compute(config.form.module(params), inputs)[kept]), params)
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
