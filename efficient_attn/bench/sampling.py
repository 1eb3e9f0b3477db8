"""What it costs to draw a token: the cache of a pattern, and the time of a step, by length."""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from efficient_attn.bench.timing import median_ms
from efficient_attn.models import Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.nn.cache import slots

LENGTHS = (1024, 16_384)
# Strides are those at which a layer that strides sees as many keys as its stride: the square root of the longest.
PATTERNS = {
    "dense": ("Causal()",),
    "strided": ("Causal() & Window(left=127)", "Causal() & Strided(128)"),
    "fixed": ("Causal() & Fixed(stride=128, summary=8)",),
    "window": ("Causal() & Window(left=127)",),
}
_STEPS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One pattern at one length."""

    pattern: str
    length: int
    kept: int
    """Keys that are kept for a head, in the layer that keeps the most."""
    read: int
    """Keys that are read for a token of a head, in the layer that reads the most."""
    mib: float
    """Of all caches."""
    ms: float
    """A token, at the end of the sequence."""


def rows(lengths: tuple[int, ...] = LENGTHS) -> Iterator[Row]:
    """All patterns at all lengths: a decoder of 4 layers, 256 wide with 4 heads, float32, one sequence."""
    for name, patterns in PATTERNS.items():
        for length in lengths:
            yield measure(name, patterns, length)


def measure(name: str, patterns: tuple[str, ...], length: int) -> Row:
    """The last 64 tokens of a sequence, drawn by one program over a cache that is full."""
    config = DecoderConfig(depth=4, width=256, heads=4, attention=Sparse(patterns=patterns))
    model = Functional(lambda key: Decoder(config, key=key))
    params = model.init(jax.random.key(0))
    caches = jax.jit(lambda params: model.module(params).init_cache(1, length))(params)

    @functools.partial(jax.jit, donate_argnums=1)
    def drawn(params, caches):
        decoder = model.module(params)

        def step(position, state):
            token, caches = state
            logits, caches = decoder.step(token, position, caches, length)
            return jnp.argmax(logits, axis=-1), caches

        return jax.lax.fori_loop(length - _STEPS, length, step, (jnp.zeros(1, jnp.int32), caches))

    state = [drawn(params, caches)[1]]

    def again():
        # The program writes into the caches that it is given, as within one long program.
        token, state[0] = drawn(params, state[0])
        return token

    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state[0])) / 2**20
    places = [slots(pattern, length) for pattern in config.attention.parsed()]
    kept, read = max(x.count for x in places), max(x.run or x.count for x in places)
    ms = median_ms(again, 5) / _STEPS
    return Row(pattern=name, length=length, kept=kept, read=read, mib=size, ms=ms)
