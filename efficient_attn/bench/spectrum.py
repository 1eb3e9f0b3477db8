"""The singular values of attention, which motivate Linformer: how much of their sum the largest have.

Wang et al. 2020, section 3 and figure 1: of the matrix ``P`` of weights of each layer and head, the normalised cumulative singular
values, averaged over texts, and the share of the first n / 4 (128 of 512) by layer and head. The steeper the curve, the fewer slots
do for so many tokens. Beside a trained model stand the same model as it was drawn, and the softmax of as many scores from a normal
distribution, whose rows have nothing in common.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from efficient_attn.models import Functional, attention_weights
from efficient_attn.training.curve import empty_figure

# Denominators of the shares in the table: the singular values up to n / 16, and so on.
PARTS = (16, 8, 4, 2)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Normalised cumulative singular values: of the largest, the two largest, and so on, up to 1."""

    name: str
    cumulative: Float[np.ndarray, "L N T"]

    def shares(self) -> Float[np.ndarray, "L parts"]:
        """What the first n / 16, n / 8, n / 4 and n / 2 have of the sum, in each layer, heads averaged."""
        tokens = self.cumulative.shape[-1]
        return np.stack([self.cumulative[..., tokens // part - 1].mean(1) for part in PARTS], axis=-1)


def cumulative(weights: Float[np.ndarray, "*any T T"]) -> Float[np.ndarray, "*any T"]:
    """The sums of the largest singular values of each matrix, over the sum of all."""
    sums = np.cumsum(np.linalg.svd(weights, compute_uv=False), axis=-1)
    return sums / sums[..., -1:]


def of_model(name: str, form: Functional[Any], params: Any, texts: Int[np.ndarray, "count T"]) -> Spectrum:
    """The spectrum of a model's attention, averaged over texts, one of which is read at a time.

    Raises:
      ValueError: if the model's attention has no weights for all pairs of tokens, or the texts do not suit it.

    Cost: O(L N T^2) memory; O(count L N T^3) time.
    """
    read = jax.jit(lambda params, text: attention_weights(form.module(params), text[None])[:, 0])
    found = [cumulative(np.asarray(read(params, text.astype(np.int32)))) for text in texts]
    return Spectrum(name, np.mean(found, axis=0))


def of_noise(name: str, tokens: int, layers: int, heads: int) -> Spectrum:
    """The spectrum of the softmax of standard normal scores."""
    scores = np.random.default_rng(0).normal(size=(layers, heads, tokens, tokens))
    weights = np.exp(scores)
    return Spectrum(name, cumulative(weights / weights.sum(-1, keepdims=True)))


def table(spectra: Iterable[Spectrum]) -> Iterable[str]:
    """The rows of a table: a layer of each spectrum."""
    yield f"| attention | layer | {' | '.join(f'first n / {part}' for part in PARTS)} |\n|---|---|{'---|' * len(PARTS)}"
    for spectrum in spectra:
        for layer, shares in enumerate(spectrum.shares()):
            yield f"| {spectrum.name} | {layer} | {' | '.join(f'{share:.3f}' for share in shares)} |"


def draw(spectra: Sequence[Spectrum], path: Path) -> None:
    """The curves of each spectrum, layers and heads averaged, and of the first the share of n / 4 by layer and head, as a picture.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = empty_figure(11.0, 4.5)
    curves, heat = figure.subplots(1, 2)
    for spectrum in spectra:
        curves.plot(
            np.arange(1, spectrum.cumulative.shape[-1] + 1), spectrum.cumulative.mean((0, 1)), label=spectrum.name
        )
    curves.set(xlabel="singular values, from the largest", ylabel="share of their sum", ylim=(0, 1.02))
    curves.grid(alpha=0.3)
    curves.legend()
    first = spectra[0].cumulative
    place = first.shape[-1] // 4
    image = heat.imshow(first[..., place - 1], aspect="auto", cmap="viridis")
    heat.set(xlabel="head", ylabel="layer", title=f"{spectra[0].name}: share of the first {place} of {first.shape[-1]}")
    heat.set(xticks=range(first.shape[1]), yticks=range(first.shape[0]))
    figure.colorbar(image)
    figure.savefig(path, dpi=120)
