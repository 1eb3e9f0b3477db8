"""Memory of attention over a window grows with the length, not with its square."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import attend
from efficient_attn import patterns as P

WINDOW = P.Causal() & P.Window(left=511)
HEADS, SIZE = 8, 64


def forward(query, key, value):
    return attend(query, key, value, WINDOW, implementation="xla")


def training(query, key, value):
    return jax.grad(lambda *x: forward(*x).sum(), argnums=(0, 1, 2))(query, key, value)


def positioned(query, key, value):
    positions = jnp.arange(query.shape[1])
    return attend(query, key, value, WINDOW, query_positions=positions, key_positions=positions, implementation="xla")


def lower(function, length):
    return jax.jit(function).lower(*[jax.ShapeDtypeStruct((1, length, HEADS, SIZE), jnp.float32)] * 3)


@pytest.mark.parametrize("function", [forward, training, positioned])
def test_temporary_memory_is_linear(function):
    used = {n: lower(function, n).compile().memory_analysis().temp_size_in_bytes for n in (4096, 16384)}
    for n, size in used.items():
        assert size < 64 * 2**20 * n / 4096, f"{size / 2**20:.0f} MiB for {n} tokens"
    # Four times the length, and a constant part.
    assert used[16384] <= 4.2 * used[4096] + 2**20, used


@pytest.mark.parametrize("function", [forward, training, positioned])
def test_nothing_as_large_as_all_pairs_exists(function):
    length = 16384
    program = lower(function, length)
    for text in (program.as_text(), program.compile().as_text()):
        shapes = re.findall(r"[<\[]((?:\d+[x,])*\d+)(?:x\w+>|\])", text)
        elements = {shape: int(np.prod([int(n) for n in re.split("[x,]", shape)], dtype=np.int64)) for shape in shapes}
        assert elements, "no shape was found in the program"
        largest = max(elements, key=elements.get)
        assert elements[largest] < length * length / 4, largest
