"""Weights of every layer and head: those that give the layer its result, and the alphas of entmax heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import (
    AdaptivelySparse,
    DecoderConfig,
    EncoderConfig,
    Linformer,
    Sparse,
    attention_weights,
    decoder_of,
    encoder_of,
    learned_alphas,
)
from efficient_attn.nn.relative_buckets import RelativeBuckets
from efficient_attn.nn.text_embedding import SlotPositions

B, T, N, WIDTH, VOCAB = 2, 11, 3, 12, 23
TOKENS = jax.random.randint(jax.random.key(0), (B, T), 0, VOCAB)
ENCODER = EncoderConfig(
    vocab=VOCAB, depth=2, width=WIDTH, heads=N, ff_width=20, positions=SlotPositions(rows=T), relative=RelativeBuckets()
)
DECODER = DecoderConfig(depth=3, width=WIDTH, heads=2, vocab=VOCAB, initialization="unit")


def built(form):
    return form.module(form.init(jax.random.key(1)))


def mixed(weights, attention, x):
    """The result of a layer from its weights."""
    value = np.asarray(attention.value(x)).reshape(B, T, weights.shape[1], -1)
    return attention.output(jnp.asarray(np.einsum("bnts,bsnh->btnh", weights, value).reshape(B, T, WIDTH)))


def test_an_encoders_weights_give_its_result():
    model = built(encoder_of(ENCODER))
    weights = attention_weights(model, TOKENS)
    assert weights.shape == (2, B, N, T, T)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    first = jax.tree.map(lambda a: a[0], model.stack.cycle[0])
    x = model.embedding(TOKENS, None)
    expected = first.attention(x, **model.common(T))
    np.testing.assert_allclose(mixed(weights[0], first.attention, x), expected, atol=1e-5)
    second = jax.tree.map(lambda a: a[1], model.stack.cycle[0])
    x = first(x, 0.0, None, None, None, **model.common(T))
    expected = second.attention(x, **model.common(T))
    np.testing.assert_allclose(mixed(weights[1], second.attention, x), expected, atol=1e-5)


@pytest.mark.parametrize("alpha", [None, 2.0])
def test_a_decoders_weights_are_sparse_where_entmax_makes_them_so(alpha):
    patterns = ("Causal() & Window(left=4)", "Causal()")
    model = built(
        decoder_of(DecoderConfig(**vars(DECODER) | {"attention": AdaptivelySparse(patterns=patterns, alpha=alpha)}))
    )
    weights = np.asarray(attention_weights(model, TOKENS))
    seen = np.tri(T, dtype=bool) & ~np.tri(T, k=-5, dtype=bool)
    assert (weights[0][..., ~seen] == 0).all()
    assert (weights[2][..., ~seen] == 0).all()
    assert (weights[1][..., ~np.tri(T, dtype=bool)] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    alphas = np.asarray(learned_alphas(model))
    assert alphas.shape == (3, 2)
    if alpha is None:
        # In order of the layers: one of each place of the cycle, then one more of the first.
        drawn = [block.attention.alpha[...] for block in (*model.stack.cycle, *model.stack.rest)]
        expected = np.clip(1 + jax.nn.sigmoid(jnp.concatenate([jnp.atleast_2d(a) for a in drawn])), 1.01, 2)
        np.testing.assert_allclose(alphas, expected, atol=1e-6)
    else:
        assert (alphas == alpha).all()
        assert (weights[1][..., np.tri(T, dtype=bool)] == 0).any()


def test_what_has_no_weights_is_said():
    compressed = Linformer(length=T, slots=(4,))
    with pytest.raises(ValueError, match="compares all tokens, as Sparse or AdaptivelySparse, got Linformer"):
        attention_weights(
            built(encoder_of(EncoderConfig(**vars(ENCODER) | {"attention": compressed, "relative": None}))), TOKENS
        )
    reversible = DecoderConfig(**vars(DECODER) | {"residual": "reversible", "logits": "untied"})
    with pytest.raises(ValueError, match="decoder of plain blocks"):
        attention_weights(built(decoder_of(reversible)), TOKENS)
    plain = DecoderConfig(**vars(DECODER) | {"attention": Sparse()})
    assert learned_alphas(built(decoder_of(plain))) is None
