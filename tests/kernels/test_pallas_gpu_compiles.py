"""The GPU kernels pass the GPU compilers, with memory linear in the length and registers to spare, on a machine without a GPU."""

import functools
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.bench import gpu_kernels
from efficient_attn.bench.gpu_targets import TARGETS

pytestmark = [
    pytest.mark.slow,
    # JAX means to drop this way of compiling; it is the one that serves Ampere and Hopper alike.
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning"),
    pytest.mark.skipif(
        gpu_kernels.missing(), reason="needs jax-cuda12-plugin, jax-cuda12-pjrt and nvidia-cuda-nvcc-cu12"
    ),
]
MIB = 2**20


def arrays(*shape, count=3, dtype=jnp.bfloat16):
    return [jax.ShapeDtypeStruct(shape, dtype)] * count


def gradient(call):
    loss = lambda *given: jnp.square(call(*given).astype(jnp.float32)).mean()  # noqa: E731
    return lambda *given: jax.grad(loss, tuple(range(len(given))))(*given)


def test_registers_suffice():
    table = subprocess.run(
        [sys.executable, "-m", "efficient_attn", "bench", "gpu"],
        capture_output=True, text=True, check=True, env=os.environ | {"JAX_PLATFORMS": "cpu"},
    ).stdout  # fmt: skip
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "| attention" in line
    ]
    assert len(rows) == 3 * 3 * len(TARGETS)
    for kernel, target, size, _, spilled, instruction in rows:
        assert instruction == ("wgmma" if target == "H100" else "mma"), kernel
        assert int(size) == 256 or int(spilled) == 0, (kernel, target, size)


PATTERNS = {
    "strided": P.Causal() & (P.Window(left=127) | P.Strided(128)),
    "BigBird": P.Window(255, 255) | P.Global(range(64)) | P.BlockRandom(64, 3, 0, 4096),
    "per head": P.PerHead([P.Causal() & P.Window(left=1023), P.Chunk(200), P.Causal(), P.Strided(7)]),
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kind_of_pattern_compiles(target, pattern):
    call = functools.partial(attend, pattern=pattern, implementation="pallas_gpu")
    query, (key, value) = arrays(1, 4000, 4, 128, count=1), arrays(1, 4000, 2, 128, count=2)
    gpu_kernels.compile_for(TARGETS[target], gradient(call), *query, key, value)


@pytest.mark.parametrize("target", TARGETS)
def test_all_options_compile_together(target):
    def call(query, key, value, bias):
        return attend(
            query, key, value, P.Causal() & P.Window(left=1023), bias=bias, segment_ids=jnp.arange(2000)[None] // 700,
            dropout_rate=0.1, key_mask=jnp.arange(2000)[None] > 3, dropout_key=jax.random.key(0), logits_soft_cap=5.0,
            implementation="pallas_gpu",
        )  # fmt: skip

    bias = arrays(1, 4, 2000, 2000, count=1, dtype=jnp.float32)
    gpu_kernels.compile_for(TARGETS[target], gradient(call), *arrays(1, 2000, 4, 64, dtype=jnp.float32), *bias)


def test_the_memory_of_the_gradient_is_linear():
    # 8 heads of 128 over 32,768 tokens: 64 MiB each for the output and its cotangent, 1 MiB for each number per query.
    call = functools.partial(attend, pattern=P.Causal() & P.Window(left=1023), implementation="pallas_gpu")
    compiled = gpu_kernels.compile_for(TARGETS["H100"], gradient(call), *arrays(1, 32768, 8, 128))
    assert compiled.memory_analysis().temp_size_in_bytes <= 140 * MIB


def test_causal_attention_over_a_million_tokens_compiles():
    call = functools.partial(attend, pattern=P.Causal(), implementation="pallas_gpu")
    compiled = gpu_kernels.compile_for(TARGETS["H100"], call, *arrays(1, 2**20, 1, 128))
    assert compiled.memory_analysis().temp_size_in_bytes <= 8 * MIB
