"""The TPU kernels beside what the conformance suite asks of all: their lists of work, their memory, their exactness."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from efficient_attn import attend
from efficient_attn import patterns as P
from efficient_attn.kernels.bitmap import computable, pack, unpack
from efficient_attn.kernels.pallas_tpu import work
from efficient_attn.patterns import block_mask
from efficient_attn.patterns.block_mask import EMPTY, block_kinds

LENGTH = 300
LONG = 32768
PATTERNS = {
    "causal window": P.Causal() & P.Window(left=140),
    "global": P.Window(9, 9) | P.Global([0, 299]),
    "random blocks": P.BlockRandom(16, 2, 7, LENGTH),
    "nothing": P.Strided(7) & ~P.Strided(7),
    "per head": P.PerHead([P.Causal(), P.Chunk(100)] + [P.Causal()] * 2),
}
each_pattern = pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)


@pytest.fixture
def blocks_of_128(monkeypatch):
    """Short sequences of several blocks."""
    monkeypatch.setattr(block_mask, "_BUNDLES", {128: (1, 1)})
    block_mask.best_block.cache_clear()
    yield
    block_mask.best_block.cache_clear()


@pytest.fixture
def short_lists(monkeypatch):
    """Scalar memory for six blocks, or three with bitmaps."""
    monkeypatch.setattr(work, "_MOST_WORDS", 6)
    work.launches.cache_clear()
    yield
    work.launches.cache_clear()


def grid_blocks(pattern):
    """The side of the blocks of the kernel that a call with this pattern or mask would run."""
    x = jax.ShapeDtypeStruct((1, 1024, 1, 64), jnp.float32)
    run = lambda x: attend(x, x, x, pattern, implementation="pallas_tpu")  # noqa: E731
    text = str(jax.make_jaxpr(run)(x))
    return {int(size) for size in re.findall(r"Blocked\(block_size=(\d+)\)", text)} - {1, 64}


@pytest.mark.fast
def test_a_mask_says_which_blocks_are_taken():
    pattern = P.Causal() & P.Window(left=140)
    assert grid_blocks(pattern) == {block_mask.best_block(pattern, 1024, 1024)}
    for block in block_mask.KERNEL_BLOCKS:
        mask = pattern.block_mask(1024, 1024, block)
        assert grid_blocks(mask) == {block}
    # Of a size that the kernels do not have: as of the pattern.
    mask = pattern.block_mask(1024, 1024, 64)
    assert grid_blocks(mask) == grid_blocks(pattern)


def draw(seed, *shape, dtype=jnp.float32):
    return jax.random.normal(jax.random.key(seed), shape, dtype)


def answers(implementation, pattern, *, length=LENGTH, heads=4, key_heads=2, size=8, value_size=12, dtype=jnp.float32):
    """Output, log-sum-exp, and the gradients of query, key, value and a bias by pairs."""
    query = draw(1, 1, length, heads, size, dtype=dtype)
    key, value = (
        draw(2, 1, length, key_heads, size, dtype=dtype),
        draw(3, 1, length, key_heads, value_size, dtype=dtype),
    )
    bias = draw(4, 1, heads, length, length)
    call = lambda q, k, v, b: attend(q, k, v, pattern, bias=b, return_lse=True, implementation=implementation)  # noqa: E731

    @jax.jit
    def run(*given):
        results, pull = jax.vjp(call, *given)
        return results, pull((draw(5, *results[0].shape, dtype=dtype), draw(6, *results[1].shape)))

    return run(query, key, value, bias)


@pytest.mark.parametrize("name", ["random blocks", "per head"])
def test_no_block_is_left_unwritten_and_no_two_writes_race(blocks_of_128, capfd, name):
    pattern = PATTERNS[name]
    strict = pltpu.InterpretParams(uninitialized_memory="nan", detect_races=True)
    with pltpu.force_tpu_interpret_mode(strict):
        got = answers("pallas_tpu", pattern)
    assert "race" not in capfd.readouterr().out.lower()
    expected = answers("reference", pattern)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), got, expected)


@pytest.mark.parametrize("name", ["causal window", "random blocks", "per head"])
def test_lists_too_long_for_scalar_memory_are_launched_in_groups(blocks_of_128, short_lists, name):
    pattern = PATTERNS[name]
    with pltpu.force_tpu_interpret_mode(True):
        got = answers("pallas_tpu", pattern)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=2e-4, atol=2e-5), got, answers("reference", pattern)
    )


@each_pattern
@pytest.mark.parametrize("by_key", [False, True])
@pytest.mark.parametrize("most", [6, 1000])
def test_the_lists_hold_every_live_block_once(monkeypatch, pattern, by_key, most):
    monkeypatch.setattr(work, "_MOST_WORDS", most)
    plain = pattern.patterns if isinstance(pattern, P.PerHead) else (pattern,) * 4
    for launch in work.launches.__wrapped__(pattern, 4, LENGTH, LENGTH - 40, 128, by_key):
        kinds = block_kinds(plain[launch.heads[0]], LENGTH, LENGTH - 40, 128)
        lines = kinds.T if by_key else kinds
        word = work.Word(launch.words.reshape(-1))
        live = word.kind != work.NOTHING
        assert sorted(zip(word.line[live], word.along[live], strict=True)) == list(zip(*np.nonzero(lines), strict=True))
        found = np.full(lines.shape, EMPTY)
        found[word.line[live], word.along[live]] = word.kind[live]
        # The last block of keys is ragged, and no block there is taken to be full.
        lines = lines.copy()
        ragged = lines[-1] if by_key else lines[:, -1]
        ragged[ragged == work.FULL] = work.PARTIAL
        np.testing.assert_array_equal(found, lines)
        for end in (word.first, word.last):
            assert sorted(word.line[end]) == list(range(len(lines)))


@pytest.mark.parametrize(
    "pattern",
    [
        P.PerHead([P.Causal() & P.Window(left=1023), P.Causal() & P.Window(left=4095)] * 8),
        P.Window(255, 255) | P.Global(range(64)) | P.BlockRandom(512, 3, 0, LONG),
        P.Causal(),
    ],
    ids=["two patterns over 16 heads", "BigBird", "causal"],
)
def test_at_least_95_percent_of_the_steps_are_useful(pattern):
    for by_key in (False, True):
        found = work.launches(pattern, 16, LONG, LONG, 512, by_key)
        steps = [launch.words.size * len(launch.heads) for launch in found]
        useful = sum(n * launch.useful_steps for n, launch in zip(steps, found, strict=True))
        assert useful >= 0.95 * sum(steps)


def test_a_million_tokens_fit_scalar_memory():
    (launch,) = work.launches(P.Causal(), 1, 2**20, 2**20, 512, False)
    assert launch.words[0].nbytes <= 256 * 1024
    assert launch.useful_steps >= 0.95


def test_more_blocks_than_a_word_numbers_are_refused():
    with pytest.raises(NotImplementedError, match="at most 16384 blocks along a sequence, 2097280 tokens are 16385"):
        work.launches(P.Window(1), 1, 128 * 16385, 128 * 16385, 128, False)


def test_bitmaps_are_what_was_packed():
    allowed = np.random.default_rng(0).random((128, 128)) < 0.5
    np.testing.assert_array_equal(unpack(jnp.asarray(pack(allowed))), allowed)


def test_which_predicates_a_kernel_computes():
    assert computable(P.Causal() & (P.Window(5) | P.Fixed(128, 8) | P.Chunk(100) | P.Global([3]) | P.Dilated(3, 3, 4)))
    assert not computable(P.Causal() & P.BlockRandom(16, 2, 7, LENGTH))


@pytest.mark.parametrize(("size", "value_size"), [(64, 256), (256, 80)])
def test_head_sizes(blocks_of_128, size, value_size):
    sizes = {"length": 140, "size": size, "value_size": value_size}
    with pltpu.force_tpu_interpret_mode(True):
        got = answers("pallas_tpu", P.Causal(), **sizes)
    expected = answers("reference", P.Causal(), **sizes)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=2e-4), got, expected)


def test_blocks_of_other_segments_are_passed_over(blocks_of_128):
    # A block that is computed and hidden would spoil the sums: 0 times NaN is NaN.
    query, key, value = (draw(seed, 1, 256, 2, 8) for seed in (1, 2, 3))
    second = jnp.arange(256) >= 128
    key, value = (jnp.where(second[None, :, None, None], jnp.nan, x) for x in (key, value))
    with pltpu.force_tpu_interpret_mode(True):
        output = attend(
            query, key, value, P.Full(), segment_ids=second[None].astype(jnp.int32), implementation="pallas_tpu"
        )
    np.testing.assert_array_equal(np.isfinite(output).all((0, 2, 3)), ~second)


def dense(query, key, value):
    """Attention as it is commonly written, in the format of its inputs with a softmax in float32."""
    scores = jnp.einsum("btnh,bsnh->bnts", query, key, preferred_element_type=jnp.float32) * query.shape[-1] ** -0.5
    scores = jnp.where(jnp.tri(query.shape[1], dtype=bool), scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    return jnp.einsum("bnts,bsnh->btnh", weights, value)


def test_the_gradient_of_queries_in_bfloat16_is_as_near_as_the_dense_one():
    given = [draw(seed, 1, 4096, 1, 128, dtype=jnp.bfloat16) for seed in (1, 2, 3)]
    cotangent = draw(4, 1, 4096, 1, 128, dtype=jnp.bfloat16)

    def gradient(function, cast):
        query, key, value = (x.astype(cast) for x in given)
        run = jax.jit(lambda q: jax.vjp(lambda q: function(q, key, value), q)[1](cotangent.astype(cast))[0])
        return np.asarray(run(query), np.float64)

    exact = gradient(functools.partial(attend, pattern=P.Causal(), implementation="reference"), jnp.float32)
    common = gradient(dense, jnp.bfloat16)
    with pltpu.force_tpu_interpret_mode(True):
        ours = gradient(functools.partial(attend, pattern=P.Causal(), implementation="pallas_tpu"), jnp.bfloat16)
    assert np.linalg.norm(ours - exact) <= 1.1 * np.linalg.norm(common - exact)


def test_the_device_chooses_where_nothing_is_named():
    given = [jnp.zeros((1, 256, 2, 128), jnp.bfloat16)] * 3
    call = jax.jit(lambda q, k, v: attend(q, k, v, P.Causal()))
    traced = call.trace(*given)
    assert "tpu_custom_call" in traced.lower(lowering_platforms=("tpu",)).as_text()
    assert "custom_call" not in traced.lower(lowering_platforms=("cpu",)).as_text()


def test_what_the_kernel_does_not_take_is_left_to_xla_where_nothing_is_named():
    given = [jnp.zeros((1, 256, 2, 128), jnp.bfloat16)] * 3
    call = jax.jit(lambda q, k, v: attend(q, k, v, P.Causal(), query_positions=jnp.arange(256)))
    assert "tpu_custom_call" not in call.trace(*given).lower(lowering_platforms=("tpu",)).as_text()


def test_a_program_for_another_device_is_refused():
    given = [jnp.zeros((1, 256, 2, 128), jnp.bfloat16)] * 3
    call = jax.jit(lambda q, k, v: attend(q, k, v, P.Causal(), implementation="pallas_tpu"))
    traced = call.trace(*given)
    assert "tpu_custom_call" in traced.lower(lowering_platforms=("tpu",)).as_text()
    with pytest.raises(NotImplementedError, match="compiled for cpu"):
        traced.lower(lowering_platforms=("cpu",))
