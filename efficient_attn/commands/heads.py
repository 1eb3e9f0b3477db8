"""``python -m efficient_attn heads CONFIG --workdir DIR``: what the heads of a trained language model have become.

Of each head its alpha, where its weights are alpha-entmax, and its density: the share of the tokens so far whose weight is not
zero. Of each layer how much its heads differ: the Jensen-Shannon divergence of their weights, averaged over queries,

    JS = H(mean_n p_n) - mean_n H(p_n),   0 where all heads agree, at most log2 N bits.

Reference:
  Correia, Niculae and Martins, "Adaptively Sparse Transformers", 2019, section 5.
"""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from jaxtyping import Float

from efficient_attn.data import TokenStream
from efficient_attn.experiment import load_language_model, restore
from efficient_attn.models import attention_weights, learned_alphas
from efficient_attn.training.curve import check_picture, empty_figure


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Which model, and what it reads."""

    config: Annotated[str, tyro.conf.Positional]
    """The config that was trained."""
    workdir: str
    """Where the run is."""
    texts: int = 8
    """Windows of the validation split, over which densities and divergences are averaged."""
    picture: Path | None = None
    """A PNG or SVG of alphas and densities by layer and head."""

    def __post_init__(self):
        if self.texts < 1:
            raise ValueError(f"texts must be at least 1, got {self.texts}")
        check_picture(self.picture)


def main(args: Args) -> None:
    """Prints a row for each layer, and the same as JSON last."""
    if args.picture is not None:
        empty_figure(1.0, 1.0)
    report = look(args)
    rows = zip(
        report["alphas"] or [None] * len(report["density"]), report["density"], report["divergence"], strict=True
    )
    print("| layer | alpha of each head | density of each head | divergence of the heads, bits |\n|---|---|---|---|")
    for layer, (alphas, density, divergence) in enumerate(rows):
        shown = "-" if alphas is None else " ".join(f"{a:.2f}" for a in alphas)
        print(f"| {layer} | {shown} | {' '.join(f'{d:.2f}' for d in density)} | {divergence:.3f} |")
    if args.picture is not None:
        draw(report, args.picture)
    print(json.dumps(report))


def look(args: Args) -> dict[str, Any]:
    """Alphas and densities ``[L, N]``, divergences ``[L]``.

    Raises:
      ValueError: if the config is of no language model over a stream of tokens, or its attention has no weights for all pairs.
      FileNotFoundError: if there is no checkpoint.

    Cost: O(L N T^2) memory for each text.
    """
    config = load_language_model(args.config)
    params, step = restore(config, args.workdir)
    stream = config.source.load("validation")
    if not isinstance(stream, TokenStream) or len(stream) < config.context:
        raise ValueError(f"a validation split of at least {config.context} tokens is needed, got {stream}")
    count = min(args.texts, len(stream) // config.context)
    begins = np.linspace(0, len(stream) - config.context, count).astype(int)
    read = jax.jit(lambda params, text: attention_weights(config.form.module(params), text[None])[:, 0])
    measured = []
    for begin in begins:
        text = stream.tokens[begin : begin + config.context].astype(np.int32)
        weights = np.asarray(read(params, text))
        measured.append((density(weights), divergence(weights)))
    densities, divergences = (np.mean(part, axis=0) for part in zip(*measured, strict=True))
    alphas = learned_alphas(config.form.module(params))
    return {
        "alphas": None if alphas is None else np.asarray(alphas).tolist(),
        "density": densities.tolist(),
        "divergence": divergences.tolist(),
        "texts": count,
        "step": step,
    }


def density(weights: Float[np.ndarray, "L N T T"]) -> Float[np.ndarray, "L N"]:
    """The share of weights that are not zero, of all pairs of a query and a key that is not after it."""
    causal = np.tri(weights.shape[-1], dtype=bool)
    return (weights[..., causal] > 0).mean(-1)


def divergence(weights: Float[np.ndarray, "L N T T"]) -> Float[np.ndarray, " L"]:
    """How much the heads of each layer differ, in bits."""
    return (_entropy(weights.mean(1)) - _entropy(weights).mean(1)).mean(-1)


def draw(report: dict[str, Any], path: Path) -> None:
    """Alphas, where there are some, and densities as maps of layers and heads.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
    """
    maps = {name: report[name] for name in ("alphas", "density") if report[name] is not None}
    figure = empty_figure(5.0 * len(maps), 4.0)
    for place, (name, values) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        limits = (1.0, 2.0) if name == "alphas" else (0.0, 1.0)
        image = place.imshow(values, aspect="auto", cmap="viridis", vmin=limits[0], vmax=limits[1])
        place.set(xlabel="head", ylabel="layer", title={"alphas": "alpha"}.get(name, name))
        place.set(xticks=range(len(values[0])), yticks=range(len(values)))
        for (layer, head), value in np.ndenumerate(np.asarray(values)):
            colour = "white" if value < np.mean(limits) else "black"
            place.text(head, layer, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
        figure.colorbar(image)
    figure.savefig(path, dpi=120)


def _entropy(weights: Float[np.ndarray, "*any T"]) -> Float[np.ndarray, "*any"]:
    """In bits, along the last axis."""
    logs = np.log2(weights, where=weights > 0, out=np.zeros_like(weights))
    return -(weights * logs).sum(-1)
