"""Linformer beside dense attention at inference: time and memory of a sample, as in the table of savings of its paper.

Wang et al. 2020, table 3: a forward pass on random inputs, one projection for all layers, batches as large as fit in 16 GB, whose
ratio is the memory saved. The paper leaves out depth and width; here they are 2 layers of width 512 with 8 heads, float32 and
batch 1, and the memory saved is the ratio of temporaries and result. Dense attention is there twice: by ``attend``, and with the
scores of all pairs in memory, as when the paper was written. PyTorch has dense attention and 128 slots beside them, where it is
installed.

What needs more memory than 24 GiB, or than is free, is compiled and not run: its memory is known, and its time is not.
"""

import dataclasses
import functools
import importlib.util
import os
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.bench.apart import measure_apart
from efficient_attn.bench.timing import median_ms
from efficient_attn.nn.encoder_attention import EncoderAttention
from efficient_attn.nn.encoder_block import EncoderBlock
from efficient_attn.nn.feedforward import FeedForward
from efficient_attn.nn.heads import join_heads, split_heads
from efficient_attn.nn.initializers import Initialization
from efficient_attn.nn.linformer_attention import Linformer, LinformerAttention
from efficient_attn.nn.stack import Stack
from efficient_attn.patterns.algebra import Full
from efficient_attn.precision import Precision

DEPTH, WIDTH, HEADS = 2, 512, 8
# Tokens in the feed-forward at a time: all at once, its hidden layer would be most of the memory.
STRETCH = 1024
LENGTHS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536)
# What is compiled only needs more: the memory of the machine that the rows are meant for.
MACHINE_GIB = 24
SLOTS = (128, 256, 512, 1024, 2048)

ATTEND, SOFTMAX = "dense, attend", "dense, softmax"


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement."""

    system: str
    length: int
    ms: float | None
    """None: it was compiled only, as it needs more memory than ``MACHINE_GIB`` or than is free."""
    mib: float
    """Ours: temporaries and result, as compiled. PyTorch's: growth of the process at its largest."""

    def time(self) -> str:
        """Milliseconds, or that it was compiled only."""
        return f"compiled only: needs {self.mib / 1024:.1f} GiB" if self.ms is None else f"{self.ms:.1f}"

    def saved(self, base: "Row | None") -> str:
        """How many times less this takes than another: of time, where both were timed, and of memory."""
        if base is None or base is self:
            return ""
        time = "-" if base.ms is None or self.ms is None else f"{base.ms / self.ms:.1f}"
        return f"{time} / {base.mib / self.mib:.1f}"


class SoftmaxAttention(EncoderAttention):
    """The same parameters, with the scores of all pairs in memory."""

    def __call__(self, x: Float[Array, "B T D"], *_: None) -> Float[Array, "B T D"]:
        """Attention among the tokens of ``x``, without masks and dropout."""
        query, key, value = (split_heads(p(x), self.heads) for p in (self.query, self.key, self.value))
        weights = jax.nn.softmax(jnp.einsum("btnh,bsnh->bnts", query, key) * query.shape[-1] ** -0.5)
        return self.output(join_heads(jnp.einsum("bnts,bsnh->btnh", weights, value)))


def rows(longest: int) -> Iterator[Row]:
    """Dense attention and each number of slots up to half the tokens, in turn."""
    for length in LENGTHS:
        if length <= longest:
            yield _measure(ATTEND, length, functools.partial(EncoderAttention, pattern=Full()))
            yield _measure(SOFTMAX, length, functools.partial(SoftmaxAttention, pattern=Full()))
            for slots in SLOTS:
                if 2 * slots <= length:
                    yield linformer(length, slots)
            if importlib.util.find_spec("torch") is not None:
                yield from (_theirs(length, slots) for slots in (0, SLOTS[0]))


def _theirs(length: int, slots: int) -> Row:
    """PyTorch's, in a process of its own, whose largest size is then its own too; 0 slots: dense attention."""
    arguments = (length, slots, _repeats(length))
    return Row(**measure_apart("efficient_attn.bench.torch_linformer", "PyTorch's Linformer", *arguments))


def _repeats(length: int) -> int:
    return 7 if length <= 2048 else 3 if length < 16_384 else 1


def _room() -> float:
    """Bytes that a measurement may take."""
    return min(MACHINE_GIB * 2**30, os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


def linformer(length: int, slots: int) -> Row:
    """Layers of Linformer with one projection."""
    rule = Linformer(length=length, slots=(slots,), sharing="layerwise")
    projection = rule.draw(0, HEADS, WIDTH // HEADS, _INIT, Precision(), nnx.Rngs(1))[...]
    make = functools.partial(LinformerAttention, linformer=rule)
    return _measure(f"Linformer, k={slots}", length, make, projection=projection)


_INIT = Initialization("bert", DEPTH)


def _measure(system: str, length: int, attention: functools.partial[nnx.Module], **common: jax.Array) -> Row:
    """A forward pass through the layers, whose attention ``attention`` makes."""

    def block(_: int, rngs: nnx.Rngs) -> EncoderBlock:
        made = attention(WIDTH, HEADS, _INIT, Precision(), dropout=0.0, rngs=rngs)
        feedforward = FeedForward(WIDTH, 4 * WIDTH, "gelu", _INIT, Precision(), stretch=STRETCH, rngs=rngs)
        return EncoderBlock(made, feedforward, "post", WIDTH, rngs=rngs)

    graph, state = nnx.split(Stack(block, DEPTH, (Full(),), "none", jax.random.key(0)))
    # The common projection is an argument too: the compiler would take long over so large a constant.
    run = lambda state, common, x: nnx.merge(graph, state).run(  # noqa: E731
        x, None, lambda block, _, x, key: block(x, 0.0, key, **common)
    )
    x = jax.random.normal(jax.random.key(1), (1, length, WIDTH))
    forward = jax.jit(run).lower(state, common, x).compile()
    sizes = forward.memory_analysis()
    needed = sizes.temp_size_in_bytes + sizes.output_size_in_bytes
    ms = median_ms(lambda: forward(state, common, x), _repeats(length)) if needed < _room() else None
    return Row(system, length, ms, needed / 2**20)
