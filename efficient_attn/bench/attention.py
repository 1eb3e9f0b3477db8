"""Attention side by side: this library, JAX's own and, where they are installed, PyTorch's, on the same shapes in one run.

Ratios hold where absolute times do not: every row is timed in turn with the others, and the machine's rate of matrix
products is measured before each row.
"""

import dataclasses
import functools
import importlib.util
import sys
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from efficient_attn.bench.timing import median_ms
from efficient_attn.kernels import attend
from efficient_attn.patterns import Causal, Pattern, PerHead, Window
from efficient_attn.patterns.expression import parse
from efficient_attn.patterns.layout import layout, pairs_in_live_blocks


@dataclasses.dataclass(frozen=True)
class Shape:
    """One problem: batch 1, float32."""

    length: int
    heads: int
    pattern: str
    size: int = 64

    @property
    def parsed(self) -> Pattern:
        """The pattern."""
        return parse(self.pattern)

    def arrays(self) -> tuple[jax.Array, ...]:
        """Query, key, value and the cotangent of the output."""
        keys = jax.random.split(jax.random.key(0), 4)
        return tuple(jax.random.normal(k, (1, self.length, self.heads, self.size)) for k in keys)

    def live_flops(self) -> float:
        """Floating-point operations of a forward pass over live blocks of 128, in the order that is run: two products."""
        pattern = self.parsed
        heads = pattern.patterns if isinstance(pattern, PerHead) else (pattern,) * self.heads
        return 4.0 * self.size * sum(pairs_in_live_blocks(layout(p, self.length), self.length) for p in heads)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement."""

    system: str
    shape: Shape
    forward_ms: float
    both_ms: float | None
    matrix_gflops: float
    """Rate of a square float32 product just before."""
    temporary_mib: float | None
    """Temporaries of forward and backward, as compiled."""

    def share(self, *, both: bool) -> float | None:
        """Live-block work per second as a share of the rate of matrix products; a backward counts 2.5 forwards."""
        ms = self.both_ms if both else self.forward_ms
        if ms is None:
            return None
        return self.shape.live_flops() * (3.5 if both else 1.0) / (ms * 1e6) / self.matrix_gflops


WINDOWS = tuple(Shape(n, 8, "Causal() & Window(left=511)") for n in (4096, 16384, 65536))
TWO_SIDED = tuple(Shape(n, 12, "Window(left=256, right=256)") for n in (4096, 16384))
OTHERS = tuple(
    Shape(4096, 8, p)
    for p in (
        "Causal()",
        "Full()",
        "Causal() & Strided(128)",
        "Causal() & (Window(left=127) | Strided(128))",
        "Causal() & Fixed(stride=128, summary=32)",
        "Window(left=255, right=255) | Global([0, 1, 2, 3])",
    )
)


@functools.cache
def _square():
    return jax.jit(lambda a: a @ a), jnp.ones((2048, 2048))


def matrix_rate() -> float:
    """GFLOP/s of a 2,048-square float32 product on this machine, now."""
    product, a = _square()
    return 2 * 2048**3 / median_ms(lambda: product(a), 5) / 1e6


def measure(system: str, shape: Shape, attention: Callable, repeats: int) -> Row:
    """Times ``attention(query, key, value)`` forward, and forward and backward."""
    query, key, value, cotangent = shape.arrays()
    rate = matrix_rate()
    forward = jax.jit(attention)
    loss = lambda q, k, v: (attention(q, k, v) * cotangent).sum()  # noqa: E731
    both = jax.jit(jax.grad(loss, (0, 1, 2)))
    compiled = both.lower(query, key, value).compile()
    return Row(
        system,
        shape,
        median_ms(lambda: forward(query, key, value), repeats),
        median_ms(lambda: compiled(query, key, value), repeats),
        rate,
        compiled.memory_analysis().temp_size_in_bytes / 2**20,
    )


def ours(shape: Shape, repeats: int = 5) -> Row:
    """``attend`` in XLA."""
    return measure("attend", shape, lambda q, k, v: attend(q, k, v, shape.parsed), repeats)


def jax_window(shape: Shape, repeats: int = 3) -> Row:
    """JAX's own attention, which is dense, with the same window."""
    pattern = shape.parsed
    window = next(p for p in getattr(pattern, "parts", (pattern,)) if isinstance(p, Window))
    causal = Causal() in getattr(pattern, "parts", ())
    sides = (window.left, 0 if causal else window.right)
    run = functools.partial(jax.nn.dot_product_attention, is_causal=causal, local_window_size=sides)
    return measure("jax.nn", shape, run, repeats)


def rows(longest: int) -> Iterator[Row]:
    """All that is measured up to a length, ours and that of the packages that are installed."""
    for shape in (*WINDOWS, *TWO_SIDED, *OTHERS):
        if shape.length <= longest:
            yield ours(shape)
    window = Shape(8192, 8, "Causal() & Window(left=511)")
    if longest >= window.length:
        yield ours(window)
        yield jax_window(window)
    yield from _torch_rows(longest)


def _torch_rows(longest: int) -> Iterator[Row]:
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its rows are left out", file=sys.stderr)
        return
    from efficient_attn.bench import torch_attention

    for shape in TWO_SIDED:
        if shape.length <= longest:
            yield torch_attention.flex(shape, 256)
            yield ours(shape)
            if importlib.util.find_spec("local_attention") is not None:
                yield torch_attention.local_attention(shape, 256)
