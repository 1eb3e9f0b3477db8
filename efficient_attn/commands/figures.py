"""Draws the figures of the documentation from the patterns themselves, as SVG: equal code draws equal files.

The pictures follow the papers' own: a row is a query, a column a key, and the keys of one query stand out.

References:
  Child, Gray, Radford, Sutskever, "Generating Long Sequences with Sparse Transformers", 2019, figure 3.
  Tay et al., "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020, figure 1.
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, figure 2.
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, figures 1 and 2.
"""

import dataclasses
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.synthesizer_attention import Kind, Synthesizer, SynthesizerAttention
from efficient_attn.ops.two_stream import StreamMasks, mlm_masks, mpnet_masks, plm_masks
from efficient_attn.patterns.algebra import Full, Pattern
from efficient_attn.patterns.block_mask import EMPTY, FULL
from efficient_attn.patterns.drawing import Drawing, to_svg
from efficient_attn.patterns.factorized import Fixed, Strided
from efficient_attn.patterns.local import Causal, Dilated, Window
from efficient_attn.patterns.picture import Panel, draw, panels
from efficient_attn.patterns.scattered import BlockRandom, Global
from efficient_attn.precision import Precision

_LENGTH = 24
_QUERY = 17


@dataclasses.dataclass(frozen=True, kw_only=True)
class Args:
    """Where the figures go."""

    directory: pathlib.Path = pathlib.Path("docs/figures")
    """Made if it is not there."""


def main(args: Args) -> None:
    """Draws every figure."""
    args.directory.mkdir(parents=True, exist_ok=True)
    for name, drawing in figures().items():
        path = args.directory / f"{name}.svg"
        path.write_text(to_svg(drawing), encoding="utf-8")
        print(f"wrote {path}")


def figures() -> dict[str, Drawing]:
    """File name without ending, and drawing, of every figure."""
    return {
        "patterns": _figure(
            _panel("Strided", "Causal() &\n(Window(left=3) | Strided(4))", Causal() & (Window(left=3) | Strided(4))),
            _panel("Fixed", "Causal() &\nFixed(stride=4, summary=1)", Causal() & Fixed(stride=4, summary=1)),
            _panel("Longformer", "Window(left=3, right=3)\n| Global([0, 9])", Window(left=3, right=3) | Global([0, 9])),
            _panel("BigBird", "Window(left=2, right=2)\n| Global([0, 1]) | BlockRandom(...)", _big_bird()),
        ),
        "sparse_transformer": _figure(
            _panel("Transformer", "Causal()", Causal()),
            _panel("Strided", "Causal() &\n(Window(left=3) | Strided(4))", Causal() & (Window(left=3) | Strided(4))),
            _panel("Fixed", "Causal() &\nFixed(stride=4, summary=1)", Causal() & Fixed(stride=4, summary=1)),
        ),
        "longformer": _figure(
            _panel("Full", "Full()", Full()),
            _panel("Sliding window", "Window(left=3, right=3)", Window(left=3, right=3)),
            _panel("Dilated window", "Dilated(left=3, right=3, dilation=2)", Dilated(left=3, right=3, dilation=2)),
            _panel("Global + window", "Window(left=3, right=3)\n| Global([0, 9])", Window(3, 3) | Global([0, 9])),
        ),
        "synthesizer": draw(
            (
                _dependence("Dot product", "dot_product", "q_i . k_j: both tokens"),
                _dependence("Dense", "dense", "W2 relu(W1 x_i): the query's own"),
                _dependence("Random", "random", "R_ij: no token at all"),
            ),
            seen="a token (column) on which the scores of a query (row) depend",
        ),
        # Six tokens in the order 1 3 5 4 6 2, of which the last three are predicted.
        "mpnet": draw(
            (
                _streams("MLM", "columns: x1 x3 x5, M4 M6 M2\nrows: the same; M are the queries", mlm_masks, 0),
                _streams("PLM", "columns: x1 x3 x5, x4 x6 x2\nrows: the same, then the queries", plm_masks, 3),
                _streams(
                    "MPNet", "columns: x1 x3 x5, x4 x6 x2, M4 M6 M2\nrows: the same, then the queries", mpnet_masks, 3
                ),
            )
        ),
    }


def _big_bird() -> Pattern:
    return Window(left=2, right=2) | Global([0, 1]) | BlockRandom(block=2, count=1, seed=3, length=_LENGTH)


def _panel(title: str, caption: str, pattern: Pattern) -> Panel:
    (panel,) = panels(pattern, _LENGTH, _LENGTH)
    return dataclasses.replace(panel, title=title, caption=caption)


def _figure(*drawn: Panel) -> Drawing:
    return draw(drawn, query=_QUERY)


def _streams(title: str, caption: str, masks: Callable[[int, int], StreamMasks], queries: int) -> Panel:
    """Rows of the content stream, and below them those of a query stream that has rows of its own."""
    drawn = masks(3, 3)
    seen = np.vstack([drawn.content, drawn.query[:queries]])
    return Panel(title=title, caption=caption, kinds=np.where(seen, FULL, EMPTY).astype(np.uint8), side=1)


def _dependence(title: str, scores: Kind, caption: str) -> Panel:
    """Which tokens change the scores of a query for the keys it sees, by the derivative of a layer's own scores."""
    mechanism, width = Synthesizer(scores=(scores,), length=_LENGTH), 4
    layer = SynthesizerAttention(
        width, 1, 1, width, Initialization("unit", 1), Precision(), mechanism=mechanism, rngs=nnx.Rngs(0)
    )
    causal = np.tri(_LENGTH, dtype=bool)

    def of(x: jax.Array) -> jax.Array:
        return jnp.where(causal, layer.logits(x[None]).reshape(_LENGTH, _LENGTH), 0.0)

    slopes = jax.jacfwd(of)(jax.random.normal(jax.random.key(1), (_LENGTH, width)))
    depends = np.abs(np.asarray(slopes)).max((1, 3)) > 0
    return Panel(title=title, caption=caption, kinds=np.where(depends, FULL, EMPTY).astype(np.uint8), side=1)
