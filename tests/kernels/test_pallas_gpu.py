"""What the GPU kernels visit, that every program lowers for GPUs, and that a GPU takes them where nothing is named."""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.kernels import automatic
from efficient_attn.kernels.pallas_gpu.work import work_of
from efficient_attn.patterns.block_mask import build_block_mask, expand

pytestmark = [
    pytest.mark.fast,
    # JAX means to drop this way of compiling; it is the one that serves Ampere and Hopper alike.
    pytest.mark.filterwarnings("ignore:The Pallas Triton backend is deprecated:DeprecationWarning"),
]

PATTERNS = {
    "causal": P.Causal(),
    "causal window": P.Causal() & P.Window(left=100),
    "chunks and prefix": P.Chunk(60) | P.Prefix(5),
    "BigBird": P.Window(63, 63) | P.Global(range(64)) | P.BlockRandom(64, 1, 0, 320),
    "full": P.Full(),
    "some empty lines": P.Causal() & ~P.Window(left=70),
    "nothing": P.Strided(7) & ~P.Strided(7),
}


@contextlib.contextmanager
def hopper():
    """A GPU to lower for, which need not be there."""
    device = jax.sharding.AbstractDevice(device_kind="NVIDIA H100 80GB HBM3", num_cores=132, platform="gpu")
    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((1,), ("x",), abstract_device=device)):
        yield


def lowered(function, *arguments):
    with hopper():
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def arrays(tokens=320, heads=4, key_heads=2, size=64, dtype=jnp.bfloat16):
    query, key = ((1, tokens, h, size) for h in (heads, key_heads))
    return [jax.ShapeDtypeStruct(shape, dtype) for shape in (query, key, key)]


def gradient(function):
    return jax.grad(lambda *given: function(*given).astype(jnp.float32).sum(), (0, 1, 2))


@pytest.mark.parametrize("by_key", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("length", [320, 300], ids=["whole", "ragged"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_each_live_block_is_visited_once(pattern, length, by_key):
    work = work_of(pattern, length, length, 64, by_key)
    (plan,) = build_block_mask(pattern, length, length, 64).plans
    line, along, full = expand(plan.by_key if by_key else plan.by_query)
    column = line if by_key else along
    # Slots that are no keys lie in the last column of a ragged sequence, which is then masked.
    full = full & ~((length % 64 != 0) & (column == 4))
    visited, tiles = [], []
    for number, (begin, middle, end) in enumerate(work.bounds):
        for run in range(begin, end):
            start, count, first = work.runs[run]
            visited += [(number, start + step, run < middle) for step in range(count)]
            tiles += [first + step for step in range(count) if run >= middle]
    assert sorted(visited) == sorted(zip(line.tolist(), along.tolist(), full.tolist(), strict=True))
    assert sorted(tiles) == list(range(len(tiles)))
    blocks = np.bincount(line, minlength=5)[work.lines]
    assert (np.diff(blocks) <= 0).all() and sorted(work.lines) == list(range(5))


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_every_kind_of_pattern_lowers(pattern):
    call = lambda *given: attend(*given, pattern, implementation="pallas_gpu")  # noqa: E731
    # One program forward, one for the queries, one for keys and values.
    assert lowered(gradient(call), *arrays()).count("gpu.triton") == 3


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_all_options_lower_together(dtype):
    def call(query, key, value):
        return attend(
            query, key, value, PATTERNS["BigBird"], bias=jnp.ones((1, 4, 320, 320)), segment_ids=jnp.arange(320)[None] // 70,
            dropout_rate=0.1, key_mask=jnp.arange(320)[None] > 3, dropout_key=jax.random.key(0), logits_soft_cap=5.0,
            implementation="pallas_gpu",
        )  # fmt: skip

    assert lowered(gradient(call), *arrays(dtype=dtype)).count("gpu.triton") == 3


@pytest.mark.parametrize("precision", ["default", "highest"])
def test_products_are_as_precise_as_asked(precision):
    call = lambda *given: attend(*given, P.Causal(), implementation="pallas_gpu")  # noqa: E731
    with jax.default_matmul_precision(precision):
        assert "gpu.triton" in lowered(call, *arrays(dtype=jnp.float32))


def test_where_nothing_is_named_a_gpu_takes_the_kernel():
    call = lambda *given: attend(*given, P.Causal())  # noqa: E731
    assert "gpu.triton" in lowered(call, *arrays())
    assert "gpu.triton" not in jax.jit(call).lower(*arrays()).as_text()


def test_a_gpu_before_ampere_takes_xla(monkeypatch):
    monkeypatch.setattr(automatic.pallas_gpu, "too_old", lambda: True)
    call = lambda *given: attend(*given, P.Causal() & P.Window(left=101))  # noqa: E731
    assert "gpu.triton" not in lowered(call, *arrays())


def test_a_large_head_is_refused():
    with pytest.raises(NotImplementedError, match="heads of at most 256, and none of 300"):
        jax.eval_shape(lambda *given: attend(*given, P.Causal(), implementation="pallas_gpu"), *arrays(size=300))
