"""BigBird's module and function against Hugging Face's, and against their pattern."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn import attend
from efficient_attn.nn.bigbird_attention import BigBird, BigBirdAttention
from efficient_attn.nn.initializers import Initialization
from efficient_attn.ops.bigbird import bigbird_attention, bigbird_pattern, draw_blocks, draw_early_blocks
from efficient_attn.patterns import GivenBlocks
from efficient_attn.precision import Precision

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "bigbird.npz")


def make(**choices):
    init = Initialization("code", 2)
    return BigBirdAttention(12, 3, init, Precision(), bigbird=BigBird(**choices), layer=3, rngs=nnx.Rngs(0))


@pytest.mark.fast
@pytest.mark.parametrize("mode", ["training", "evaluation"])
def test_hugging_faces_outputs_and_gradients(mode):
    arrays = {name.partition("/")[2]: jnp.asarray(GOLDEN[name]) for name in GOLDEN.files if name.startswith(mode)}
    module = make(block=4, random_blocks=2, seed=2, count_repeats=True, drawn=mode == "training")
    for name in ("query", "key", "value"):
        for part in ("kernel", "bias"):
            getattr(getattr(module, name), part)[...] = arrays[f"{name}.{part}"]
    # Hugging Face's stops before the projection back.
    module.output.kernel[...] = jnp.eye(12)
    graph, state = nnx.split(module)
    answers = jax.jit(lambda x, m: jax.vjp(lambda x: nnx.merge(graph, state)(x, m), x))
    output, pull = answers(arrays["x"], arrays["key_mask"])
    np.testing.assert_allclose(output, arrays["output"], atol=2e-5)
    np.testing.assert_allclose(pull(arrays["slope"])[0], arrays["gradient.x"], atol=1e-4)


@pytest.mark.fast
def test_the_blocks_that_hugging_face_draws():
    np.testing.assert_array_equal(draw_early_blocks(64, 2, 3, 5), GOLDEN["early"])
    np.testing.assert_array_equal(draw_early_blocks(16, 2, 3, 5), GOLDEN["early"][:, :14])
    np.testing.assert_array_equal(draw_blocks(20, 2, 3, 5), GOLDEN["other"])


def test_repeats_count_once_as_the_pattern_says():
    tokens, block = 75, 4
    random = draw_blocks(19, 4, 2, 0)
    # A block drawn twice, and one that is seen anyhow.
    random = np.where(np.arange(17)[:, None] == [[3, 5]], random[..., ::-1] * 0 + 6, random).astype(np.int32)
    query, key, value = (
        jax.random.normal(k, (2, tokens, n, 6))
        for k, n in zip(jax.random.split(jax.random.key(0), 3), (4, 2, 2), strict=True)
    )
    mask = jnp.arange(tokens) < jnp.array([[tokens], [50]])
    pattern = bigbird_pattern(tokens, block, random)

    def ours(*a):
        return bigbird_attention(*a, block=block, random=random, key_mask=mask)

    def expected(*a):
        return attend(*a, pattern, key_mask=mask, implementation="reference") * mask[..., None, None]

    (got, pull), (want, pull_want) = (jax.vjp(jax.jit(run), query, key, value) for run in (ours, expected))
    np.testing.assert_allclose(got, want, atol=1e-5)
    slope = jax.random.normal(jax.random.key(1), got.shape)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), pull(slope), pull_want(slope))


@pytest.mark.fast
def test_a_short_text_is_attended_to_densely():
    choices = {"block": 4, "random_blocks": 2}
    assert BigBird(**choices).table(36, 3, 0) is None
    assert BigBird(**choices).table(37, 3, 0).shape == (3, 8, 2)
    assert BigBird().table(4096, 12, 0).max() < 16
    x = jax.random.normal(jax.random.key(0), (1, 9, 12))
    np.testing.assert_array_equal(make(**choices)(x), make(block=8)(x))


@pytest.mark.fast
def test_bad_input():
    with pytest.raises(ValueError, match="takes no global_mask"):
        make()(jnp.zeros((1, 5, 12)), None, jnp.ones((1, 5), bool))
    with pytest.raises(ValueError, match="block must be"):
        BigBird(block=0)
    with pytest.raises(ValueError, match="more than 11 blocks, got 11"):
        draw_blocks(11, 2, 3, 0)
    with pytest.raises(ValueError, match="64 blocks, but the sequence has 65"):
        draw_early_blocks(65, 2, 3, 0)
    with pytest.raises(ValueError, match="for 3 heads and 2 blocks of queries"):
        bigbird_attention(*[jnp.zeros((1, 16, 3, 2))] * 3, block=4, random=np.zeros((3, 3, 1), np.int32))
    with pytest.raises(ValueError, match="3 lists of blocks from 0 to 2"):
        GivenBlocks(4, ((0,), (3,), ()), 12)
