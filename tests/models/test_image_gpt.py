"""What a decoder is as Image GPT: its norm, its start, where its positions go, and how it begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import AdaptiveSpan, Decoder, DecoderConfig, SegmentDecoder, Sparse
from efficient_attn.nn.embedding import TablePositions

pytestmark = pytest.mark.fast
SIZES = {"depth": 2, "width": 32, "heads": 2, "vocab": 23, "positions": TablePositions(sizes=(12,))}
KIND = {
    "attention_bias": False,
    "ff_bias": False,
    "slot_positions": "predicted",
    "norm_kind": "rms",
    "initialization": "image_gpt",
}
TOKENS = jnp.asarray(np.random.default_rng(0).integers(0, 23, (2, 12)), jnp.int32)


def decoder(**changes):
    return Decoder(
        DecoderConfig(**SIZES | KIND | {"attention": Sparse(patterns=("Causal()",))} | changes), key=jax.random.key(0)
    )


def plain(model, tokens):
    """The released equations, in numpy: dense and in double precision."""
    state = jax.tree.map(lambda x: np.asarray(x, np.float64), nnx.to_pure_dict(nnx.split(model)[1]))
    norm = lambda x, part: x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * part["scale"]  # noqa: E731
    embedding, length = state["embedding"], tokens.shape[1]
    inputs = np.concatenate(
        [np.broadcast_to(embedding["start"], (2, 1, 32)), embedding["tokens"][tokens[:, :-1]]], axis=1
    )
    x = inputs + embedding["tables"][0][:length]
    for row in range(2):
        layer = jax.tree.map(lambda a, row=row: a[row], state["stack"]["cycle"][0])
        h = norm(x, layer["attention_norm"])
        q, k, v = ((h @ layer["attention"][n]["kernel"]).reshape(2, length, 2, 16) for n in ("query", "key", "value"))
        scores = np.where(np.tri(length), np.einsum("bthd,bshd->bhts", q, k) / 4.0, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = np.einsum("bhts,bshd->bthd", weights / weights.sum(-1, keepdims=True), v).reshape(2, length, 32)
        x = x + mixed @ layer["attention"]["output"]["kernel"]
        hidden = norm(x, layer["feedforward_norm"]) @ layer["feedforward"]["expand"]["kernel"]
        x = x + hidden / (1 + np.exp(-1.702 * hidden)) @ layer["feedforward"]["contract"]["kernel"]
    return norm(x, state["final_norm"]) @ embedding["head"]


@pytest.fixture(scope="module")
def grown():
    """A model whose every parameter matters."""
    graph, state = nnx.split(decoder())
    leaves, tree = jax.tree.flatten(state)
    rng = np.random.default_rng(1)
    moved = [x + jnp.asarray(0.3 * rng.standard_normal(x.shape), jnp.float32) for x in leaves]
    return nnx.merge(graph, jax.tree.unflatten(tree, moved))


def test_the_released_equations(grown):
    np.testing.assert_allclose(jax.jit(grown)(TOKENS), plain(grown, np.asarray(TOKENS)), atol=2e-5)


def test_one_token_at_a_time_is_the_whole_sequence(grown):
    whole, caches = jax.jit(grown)(TOKENS), grown.init_cache(2, 12)
    step = jax.jit(grown.step, static_argnums=3)
    for position in range(12):
        logits, caches = step(TOKENS[:, position - 1], jnp.int32(position), caches, 12)
        np.testing.assert_allclose(logits, whole[:, position], atol=2e-5)


@pytest.mark.parametrize("pattern", ["Causal() & Window(left=3)", "Causal() & (Strided(4) | Window(left=3))"])
def test_a_sparse_pattern_in_place_of_the_dense_one(grown, pattern):
    sparse = decoder(attention=Sparse(patterns=(pattern,)))
    nnx.update(sparse, nnx.split(grown)[1])
    logits = np.asarray(jax.jit(sparse)(TOKENS))
    # Until a token is out of sight, nothing differs.
    whole = np.asarray(jax.jit(grown)(TOKENS))
    np.testing.assert_allclose(logits[:, :4], whole[:, :4], atol=2e-5)
    assert np.abs(logits[:, 8:] - whole[:, 8:]).max() > 1e-3


def test_it_begins_as_the_released_code_does():
    model = decoder(width=128, depth=3, vocab=200)
    state = nnx.to_pure_dict(nnx.split(model)[1])
    block = state["stack"]["cycle"][0]
    deviations = {
        ("query", 128**-0.5): block["attention"]["query"]["kernel"],
        ("value", 128**-0.5): block["attention"]["value"]["kernel"],
        ("output", (128 * 3) ** -0.5): block["attention"]["output"]["kernel"],
        ("expand", 0.02): block["feedforward"]["expand"]["kernel"],
        ("contract", 0.02): block["feedforward"]["contract"]["kernel"],
        ("tokens", 0.02): state["embedding"]["tokens"],
        ("positions", 0.01): state["embedding"]["tables"][0],
    }
    for (name, expected), value in deviations.items():
        assert float(jnp.std(value)) == pytest.approx(expected, rel=0.06), name
    assert not state["embedding"]["head"].any()
    assert "bias" not in str(jax.tree_util.tree_structure(state))
    np.testing.assert_array_equal(jax.jit(model)(TOKENS), jnp.zeros((2, 12, 200)))


def test_other_models_have_no_such_choices():
    with pytest.raises(ValueError, match=r"SegmentDecoder has the defaults of .*got \{'norm_kind': 'rms'\}"):
        SegmentDecoder(
            DecoderConfig(**SIZES | {"norm_kind": "rms", "attention": AdaptiveSpan()}), key=jax.random.key(0)
        )
