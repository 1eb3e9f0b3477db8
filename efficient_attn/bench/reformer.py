"""LSH attention side by side with the core of Hugging Face's, and the memory of gradients by depth of a stack.

Both cores go from queries and values to the mixed values: the projections, equal in both, are left out.
"""

import dataclasses
import importlib.util
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp

from efficient_attn.bench.apart import measure_apart
from efficient_attn.bench.timing import median_ms
from efficient_attn.models import LSH, Decoder, DecoderConfig, Functional
from efficient_attn.ops import lsh

HEADS, SIZE, CHUNK = 12, 64, 64
DEPTHS = (4, 8, 16)


@dataclasses.dataclass(frozen=True)
class Row:
    """One measurement of causal LSH attention: 12 heads of 64, chunks of 64, float32, batch 1."""

    system: str
    length: int
    rounds: int
    forward_ms: float
    both_ms: float
    mib: float
    """Ours: temporaries of forward and backward, as compiled. Others': growth of the process at its largest."""


def ours(length: int, rounds: int) -> Row:
    """``ops.lsh.lsh_attention``, hashing included."""
    keys = jax.random.split(jax.random.key(0), 4)
    query, value, slope = (jax.random.normal(k, (1, length, HEADS, SIZE)) for k in keys[:3])
    rotations = lsh.draw_rotations(keys[3], HEADS, SIZE, rounds, lsh.bucket_factors(length, CHUNK, 128))

    def run(query: jax.Array, value: jax.Array) -> jax.Array:
        return lsh.lsh_attention(query, value, rotations=rotations, chunk=CHUNK, causal=True)

    forward = jax.jit(run)
    both = jax.jit(jax.grad(lambda q, v: (run(q, v) * slope).sum(), (0, 1))).lower(query, value).compile()
    return Row(
        "lsh_attention",
        length,
        rounds,
        median_ms(lambda: forward(query, value), 5),
        median_ms(lambda: both(query, value), 5),
        both.memory_analysis().temp_size_in_bytes / 2**20,
    )


def theirs(length: int, rounds: int) -> Row:
    """Hugging Face's, in a process of its own, whose largest size is then its own too."""
    return Row(**measure_apart("efficient_attn.bench.torch_reformer", "transformers' LSH attention", length, rounds))


def rows(longest: int) -> Iterator[Row]:
    """Ours and, where it is installed, Hugging Face's, in turn."""
    others = [theirs] if importlib.util.find_spec("transformers") is not None else []
    for length in (4096, 16384):
        for rounds in (1, 4):
            if length <= longest:
                for run in (ours, *others):
                    yield run(length, rounds)


def gradient_mib(residual: Literal["plain", "reversible"], depth: int) -> float:
    """Temporaries of a decoder's gradient as compiled, in MiB; the gradients of the parameters are results, not counted.

    512 wide, 8 heads, 4,096 tokens, LSH and local layers in turn.
    """
    attention = LSH(chunk=64, rounds=1, layers=("lsh", "Causal() & NearChunks(64)"))
    config = DecoderConfig(depth=depth, width=512, heads=8, attention=attention, residual=residual, logits="untied")
    model = Functional(lambda key: Decoder(config, key=key))

    def loss(params: Any, tokens: jax.Array) -> jax.Array:
        return jnp.mean(jax.nn.logsumexp(model.module(params)(tokens, jax.random.key(0)), axis=-1))

    shapes, tokens = model.shapes(), jax.ShapeDtypeStruct((1, 4096), jnp.int32)
    compiled = jax.jit(jax.grad(loss)).lower(shapes, tokens).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 2**20
