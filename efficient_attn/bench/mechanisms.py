"""One layer of every mechanism on the same tokens: time, memory, and how its work and its longest chain grow with the length.

A layer of one head of 64 in a stream of 64 features counts: at such a width the projections, which are linear in the length, hide
little of the growth. Times are of eight heads in a stream of 512.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from efficient_attn.bench.depth import chain
from efficient_attn.bench.timing import median_ms
from efficient_attn.models import (
    LSH,
    AdaptivelySparse,
    AdaptiveSpan,
    BigBird,
    BlockLinformer,
    Functional,
    Linformer,
    Longformer,
    Recurrent,
    Sparse,
    Synthesizer,
)
from efficient_attn.nn.encoder_mechanisms import ENCODER_MODULES
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.mechanisms import MODULES
from efficient_attn.nn.span_attention import SpanAttention
from efficient_attn.planning.flops import product_flops
from efficient_attn.precision import Precision
from efficient_attn.training.curve import figure_of

SIZE = 64
LENGTHS = tuple(2**n for n in range(10, 17))
GROWN = tuple(2**n for n in range(16, 21))
_INIT, _PRECISION = Initialization("unit", 1), Precision()


def _root(length: int) -> int:
    return 2 ** round(math.log2(length) / 2)


# Name, and the config of the ``attention`` field for a text of some length.
MECHANISMS: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {
        "Transformer": lambda n: Sparse(patterns=("Causal()",)),
        "Sparse Transformer, strided": lambda n: Sparse(
            patterns=(f"Causal() & (Window(left={_root(n) - 1}) | Strided({_root(n)}))",)
        ),
        "Sparse Transformer, fixed": lambda n: Sparse(patterns=(f"Causal() & Fixed(stride={_root(n)}, summary=8)",)),
        "Longformer, window 256": lambda n: Longformer(windows=(256,)),
        "BigBird, block 64": lambda n: BigBird(longest=n, early_lengths=()),
        "Linformer, k = 128": lambda n: Linformer(length=n, slots=(128,)),
        "Block Linformer, k = 16": lambda n: BlockLinformer(block=4 * _root(n), slots=16),
        "Synthesizer, dense": lambda n: Synthesizer(scores=("dense",), length=n),
        "Synthesizer, factorized random": lambda n: Synthesizer(scores=("factorized_random",), length=n),
        "Adaptive span, up to 512": lambda n: AdaptiveSpan(limit=512),
        "Adaptively Sparse, alpha 1.5": lambda n: AdaptivelySparse(patterns=("Causal()",), alpha=1.5),
        "Reformer, chunks of 64": lambda n: LSH(chunk=64),
        "nBRC": lambda n: Recurrent(cell="nbrc"),
    }
)


# Tokens up to which the time of a quadratic one is taken, for the memory of its scores or for want of patience.
_TIMED: Mapping[str, int] = MappingProxyType(
    {
        "Transformer": 16_384,
        "Synthesizer, dense": 4096,
        "Synthesizer, factorized random": 4096,
        "Adaptively Sparse, alpha 1.5": 8192,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, batch 1, float32."""

    mechanism: str
    length: int
    forward_ms: float
    both_ms: float
    mib: float
    """Temporaries of forward and backward, as compiled."""


def layer(name: str, length: int, heads: int) -> tuple[Functional[nnx.Module], Callable[..., jax.Array]]:
    """A layer's form, and how the module is called on tokens ``[1, T, D]``."""
    config, width = MECHANISMS[name](length), heads * SIZE
    if isinstance(config, AdaptiveSpan):
        make = functools.partial(SpanAttention, width, heads, heads, width, _INIT, _PRECISION, mechanism=config)
        return _form(make), functools.partial(_after_memory, config.limit)
    if type(config) in ENCODER_MODULES and not isinstance(config, Sparse):
        make = functools.partial(ENCODER_MODULES[type(config)](config, 0), width, heads, _INIT, _PRECISION, dropout=0.0)
        return _form(make), lambda module, x: module(x, global_mask=_first(config, x))
    make = functools.partial(MODULES[type(config)](config, 0), width, heads, heads, width, _INIT, _PRECISION)
    return _form(make), lambda module, x: module(x, config.parsed()[0])


def _form(make: Callable[..., nnx.Module]) -> Functional[nnx.Module]:
    return Functional(lambda key: make(rngs=nnx.Rngs(key)))


def _first(config: Any, x: jax.Array) -> jax.Array | None:
    """The first token as a global one, for a mechanism that has such."""
    return jnp.arange(x.shape[1])[None] < 1 if isinstance(config, Longformer) else None


def _after_memory(limit: int, module: SpanAttention, x: jax.Array) -> jax.Array:
    """A segment after an empty memory as long as the spans may become."""
    memory = jnp.zeros((1, limit, x.shape[2]))
    keys = jnp.zeros((module.sizes[0], limit))
    return module(x, memory, jnp.zeros((1,), jnp.int32), keys, None)


def timed(name: str, longest: int) -> tuple[int, ...]:
    """The lengths up to ``longest`` at which a mechanism is timed."""
    return tuple(n for n in LENGTHS if n <= min(longest, _TIMED.get(name, longest)))


def measure(name: str, length: int, repeats: int = 3) -> Row:
    """Time and memory of a layer of eight heads, forward, and forward and backward by parameters and tokens."""
    form, call = layer(name, length, 8)
    params, x = form.init(jax.random.key(0)), jax.random.normal(jax.random.key(1), (1, length, 8 * SIZE))
    run = lambda params, x: call(form.module(params), x)  # noqa: E731
    forward = jax.jit(run)
    both = jax.jit(jax.grad(lambda params, x: run(params, x).sum(), (0, 1))).lower(params, x).compile()
    return Row(
        mechanism=name,
        length=length,
        forward_ms=median_ms(lambda: forward(params, x), repeats),
        both_ms=median_ms(lambda: both(params, x), repeats),
        mib=both.memory_analysis().temp_size_in_bytes / 2**20,
    )


def grown(name: str, lengths: tuple[int, ...]) -> tuple[list[float], list[int]]:
    """Operations of the matrix products of a layer of one head at each length, and its longest chain of dependent steps."""
    traced = [_traced(name, length) for length in lengths]
    return [product_flops(jaxpr) for jaxpr in traced], [chain(jaxpr) for jaxpr in traced]


def _traced(name: str, length: int) -> Any:
    form, call = layer(name, length, 1)
    shapes, x = form.shapes(), jax.ShapeDtypeStruct((1, length, SIZE), jnp.float32)
    # The program of a TPU: its kernels say how many blocks they compute, where loops elsewhere find out as they run.
    device = jax.sharding.AbstractDevice(device_kind="TPU v5e", num_cores=1, platform="tpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=device)):
        return jax.make_jaxpr(lambda params, x: call(form.module(params), x))(shapes, x)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Time and memory of a forward and backward pass against the length, both on logarithmic axes, into a PNG."""
    figure, _ = figure_of("", "")
    figure.clear()
    figure.set_size_inches(11, 5)
    parts = {"both_ms": "forward and backward, ms", "mib": "temporaries, MiB"}
    for place, (field, title) in zip(figure.subplots(1, len(parts)), parts.items(), strict=True):
        for n, name in enumerate(dict.fromkeys(row.mechanism for row in rows)):
            own = [row for row in rows if row.mechanism == name]
            lengths, values = [row.length for row in own], [getattr(row, field) for row in own]
            # Ten colours repeat, so the mechanisms after them are dashed.
            place.loglog(lengths, values, marker=".", linestyle="-" if n < 10 else "--", label=name)
        place.set(xlabel="tokens", ylabel=title)
        place.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=120)


def exponent(lengths: tuple[int, ...], values: list[float]) -> float:
    """The power of the length by which values grow, by least squares of logarithms."""
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])
