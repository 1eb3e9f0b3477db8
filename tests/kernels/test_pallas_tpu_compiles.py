"""The TPU kernels pass the TPU compiler, within budgets of memory, on a machine without a TPU."""

import functools
import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.kernels.pallas_tpu.attention import attend_blocks
from efficient_attn.kernels.pallas_tpu.operands import Shape
from efficient_attn.kernels.problem import Settings
from efficient_attn.planning.chips import ENVIRONMENT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install libtpu"),
]

TOPOLOGIES = {"v4": "v4:2x2x1", "v5e": "v5e:2x2", "v5p": "v5p:2x2x1", "v6e": "v6e:2x2"}
MIB = 2**20
WINDOW = P.Causal() & P.Window(left=1023)


@pytest.fixture(scope="module", autouse=True)
def compiler_alone():
    """Tells libtpu that there is no TPU to look for, and that other processes may compile too."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


def compile_for(generation, function, *arguments):
    """``function`` compiled for one chip; its memory in bytes is ``memory_analysis()`` of what is returned."""
    device = topologies.get_topology_desc(TOPOLOGIES[generation], platform="tpu").devices[0]
    mesh = jax.sharding.Mesh(np.array([device]), ("chip",))
    with jax.set_mesh(mesh):
        whole = jax.NamedSharding(mesh, jax.P())
        return jax.jit(function, in_shardings=whole, out_shardings=whole).lower(*arguments).compile()


def arrays(*shape, count=3, dtype=jnp.bfloat16):
    return [jax.ShapeDtypeStruct(shape, dtype)] * count


def gradient(call):
    """Gradients of the mean square of the output by every argument."""

    def loss(*given):
        return jnp.square(call(*given).astype(jnp.float32)).mean()

    return lambda *given: jax.grad(loss, tuple(range(len(given))))(*given)


@pytest.mark.parametrize("generation", TOPOLOGIES)
@pytest.mark.parametrize("size", [64, 128, 256])
def test_forward_and_backward_compile(generation, size):
    call = functools.partial(attend, pattern=WINDOW, implementation="pallas_tpu")
    compile_for(generation, gradient(call), *arrays(1, 4096, 4, size))


PATTERNS = {
    "strided": P.Causal() & (P.Window(left=127) | P.Strided(128)),
    "fixed": P.Causal() & P.Fixed(stride=128, summary=8),
    "dilated": P.Dilated(left=31, right=31, dilation=3),
    "chunks and prefix": P.Chunk(600) | P.Prefix(5),
    "BigBird": P.Window(255, 255) | P.Global(range(64)) | P.BlockRandom(64, 3, 0, 4096),
    "per head": P.PerHead([WINDOW, WINDOW, P.Causal(), P.Strided(7)]),
    "nothing": P.Strided(7) & ~P.Strided(7),
}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("key_heads", [2, 4])
def test_every_kind_of_pattern_compiles(pattern, key_heads):
    call = functools.partial(attend, pattern=pattern, implementation="pallas_tpu")
    query, (key, value) = arrays(1, 4000, 4, 128, count=1), arrays(1, 4000, key_heads, 128, count=2)
    compile_for("v5e", gradient(call), *query, key, value)


@pytest.mark.parametrize("generation", TOPOLOGIES)
def test_all_options_compile_together(generation):
    def call(query, key, value, bias):
        return attend(
            query, key, value, WINDOW, bias=bias, segment_ids=jnp.arange(2000)[None] // 700, dropout_rate=0.1,
            key_mask=jnp.arange(2000)[None] > 3, dropout_key=jax.random.key(0), logits_soft_cap=5.0,
            implementation="pallas_tpu",
        )  # fmt: skip

    bias = arrays(1, 4, 2000, 2000, count=1, dtype=jnp.float32)
    compile_for(generation, gradient(call), *arrays(1, 2000, 4, 128, dtype=jnp.float32), *bias)


def test_where_nothing_is_named_a_tpu_takes_the_kernel():
    compiled = compile_for("v5e", functools.partial(attend, pattern=WINDOW), *arrays(1, 4096, 4, 128))
    assert "tpu_custom_call" in compiled.as_text()


def test_the_memory_of_the_gradient():
    # 8 heads of 128 over 32,768 tokens: 64 MiB each for the output and its cotangent, 1 MiB for each number per query.
    tokens = 32768
    shape = Shape(Settings(WINDOW, 128**-0.5, None, 0.0), 8, 1, tokens, tokens, 512)
    numbers = jnp.zeros(1 + 1 + 8, jnp.int32)
    call = lambda q, k, v: attend_blocks(shape, {"query": q, "key": k, "value": v}, numbers)[0]  # noqa: E731
    compiled = compile_for("v5e", gradient(call), *arrays(1, 8, tokens, 128))
    assert compiled.memory_analysis().temp_size_in_bytes <= 140 * MIB


@pytest.mark.parametrize("tokens", [2**18, 2**20])
def test_causal_attention_over_a_million_tokens_compiles(tokens):
    call = functools.partial(attend, pattern=P.Causal(), implementation="pallas_tpu")
    forward = compile_for("v5e", call, *arrays(1, tokens, 1, 128))
    assert forward.memory_analysis().temp_size_in_bytes <= 1 * MIB
    backward = compile_for("v5e", gradient(call), *arrays(1, tokens, 1, 128))
    # The output, its cotangent, and two numbers per query.
    assert backward.memory_analysis().temp_size_in_bytes <= 2.1 * tokens * 128 * 2


def test_a_sharded_sequence_passes_the_compiler():
    """Four chips share it: what travels is a window's length of keys and values, and of their gradients."""
    devices = topologies.get_topology_desc(TOPOLOGIES["v5e"], platform="tpu").devices
    spec = jax.P(None, "sequence")
    call = functools.partial(attend, pattern=WINDOW, query_spec=spec)
    mesh = jax.sharding.Mesh(np.array(devices), ("sequence",))
    split = jax.NamedSharding(mesh, spec)
    with jax.set_mesh(mesh):
        given = arrays(1, 16384, 4, 64)
        program = jax.jit(gradient(call), in_shardings=split, out_shardings=split).lower(*given).compile()
    text = program.as_text()
    assert "all-gather" not in text
    # Keys and values, the same again for the backward pass, and both gradients back.
    assert len(re.findall(r"collective-permute(?:-start)?\(", text)) == 6
    # Forward, forward again and two kernels backward over the neighbour's keys; over its own, one forward and two backward.
    assert text.count("tpu_custom_call") == 7


def test_the_results_of_a_ring_are_not_kept():
    """Sixteen chips with as many tokens each as four: what they compute grows, and not what they hold."""

    def temporaries(topology):
        devices = topologies.get_topology_desc(topology, platform="tpu").devices
        mesh = jax.sharding.Mesh(np.array(devices), ("sequence",))
        spec = jax.P(None, "sequence")
        call, split = functools.partial(attend, pattern=P.Causal(), query_spec=spec), jax.NamedSharding(mesh, spec)
        with jax.set_mesh(mesh):
            given = arrays(1, 8192 * len(devices), 4, 128)
            program = jax.jit(gradient(call), in_shardings=split, out_shardings=split).lower(*given).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporaries("v5e:4x4") <= 1.3 * temporaries("v5e:2x2")
