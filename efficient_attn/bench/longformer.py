"""Longformer's attention side by side with Hugging Face's: the core, and the layer with its projections.

12 heads of 64, windows of 256 tokens on each side, float32, batch 1. The core goes from queries, keys and values to the mixed
values, without global tokens; the layer from the residual stream to what is added to it, without and with one global token.
Backward passes give the gradients of the parameters too.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from efficient_attn.bench.apart import measure_apart
from efficient_attn.bench.timing import median_ms
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.longformer_attention import Longformer, LongformerAttention
from efficient_attn.ops.longformer import longformer_attention
from efficient_attn.precision import Precision

HEADS, SIZE, WINDOW = 12, 64, 256

Part = Literal["core", "layer", "layer, 1 global"]


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement."""

    system: str
    part: Part
    length: int
    forward_ms: float
    both_ms: float
    mib: float
    """Ours: temporaries and results of forward and backward, as compiled. Others': growth of the process at its largest."""


def ours(part: Part, length: int) -> Row:
    """``ops.longformer`` or ``nn.LongformerAttention``."""
    keys = jax.random.split(jax.random.key(0), 4)
    run = _core if part == "core" else _layer("global" in part, length)
    shapes = [(1, length, HEADS, SIZE)] * 4 if part == "core" else [(1, length, HEADS * SIZE)] * 2
    *arrays, slope = (jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=False))
    call, parameters = run
    forward = jax.jit(call)
    loss = lambda parameters, *x: (call(parameters, *x[:-1]) * x[-1]).sum()  # noqa: E731
    gradient = jax.jit(jax.grad(loss, range(1 + len(arrays))))
    both = gradient.lower(parameters, *arrays, slope).compile()
    sizes = both.memory_analysis()
    return Row(
        "ours",
        part,
        length,
        median_ms(lambda: forward(parameters, *arrays), 7),
        median_ms(lambda: both(parameters, *arrays, slope), 7),
        (sizes.temp_size_in_bytes + sizes.output_size_in_bytes) / 2**20,
    )


_core: tuple[Callable[..., jax.Array], tuple] = (
    lambda _, query, key, value: longformer_attention(query, key, value, window=WINDOW),
    (),
)


def _layer(with_global: bool, length: int) -> tuple[Callable[..., jax.Array], nnx.State]:
    """A function of parameters and tokens, and its parameters."""
    layer = LongformerAttention(
        HEADS * SIZE,
        HEADS,
        Initialization("code", 12),
        Precision(),
        longformer=Longformer(windows=(WINDOW,), max_globals=1),
        rngs=nnx.Rngs(0),
    )
    graph, parameters = nnx.split(layer)
    key_mask = jnp.ones((1, length), bool)
    global_mask = jnp.arange(length)[None] == 0 if with_global else None
    return lambda parameters, x: nnx.merge(graph, parameters)(x, key_mask, global_mask), parameters


def theirs(part: Part, length: int) -> Row:
    """Hugging Face's, in a process of its own, whose largest size is then its own too."""
    return Row(
        **measure_apart("efficient_attn.bench.torch_longformer", "transformers' Longformer attention", part, length)
    )


def rows(longest: int) -> Iterator[Row]:
    """Ours and, where it is installed, Hugging Face's, in turn."""
    others = [theirs] if importlib.util.find_spec("transformers") is not None else []
    for length in (4096, 16384):
        for part in ("core", "layer", "layer, 1 global"):
            if length <= longest:
                for run in (ours, *others):
                    yield run(part, length)
