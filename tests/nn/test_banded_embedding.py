"""Words in bands: the probabilities of the logits, the words that go in, and what is dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import DecoderConfig, decoder_of
from efficient_attn.nn.banded_embedding import BandedEmbedding, Bands
from efficient_attn.nn.embedding import NoPositions
from efficient_attn.nn.initializers import Initialization

BANDS, VOCAB, WIDTH = Bands(starts=(5, 11), factor=2, dropout=0.5), 23, 12


@pytest.fixture(scope="module")
def embedding():
    init = Initialization("unit", 2)
    return BandedEmbedding(BANDS, VOCAB, WIDTH, NoPositions(), init, rngs=nnx.Rngs(0))


def arrays(embedding):
    return [[np.asarray(x[...]) for x in part] for part in (embedding.bands, embedding.projections)]


def test_a_word_is_its_row_projected_and_scaled(embedding):
    tables, projections = arrays(embedding)
    found = np.asarray(embedding.shifted(jnp.asarray([[4, 5, 22, 0]])))[0]
    assert [x.shape for x in tables] == [(5, 12), (6, 6), (12, 3)]
    for slot, (band, row) in enumerate([(0, 4), (1, 0), (2, 11)], start=1):
        expected = tables[band][row] @ projections[band] * np.sqrt(WIDTH)
        np.testing.assert_allclose(found[slot], expected, rtol=1e-5, atol=1e-6)


def test_logits_are_log_probabilities_of_the_band_and_within_it(embedding):
    x = jax.random.normal(jax.random.key(1), (2, 3, WIDTH))
    found = np.asarray(embedding.logits(x), np.float64)
    assert found.shape == (2, 3, VOCAB)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, rtol=1e-5)
    (tables, projections), row = arrays(embedding), np.asarray(x[1, 2], np.float64)
    head = np.concatenate([tables[0] @ row, row @ np.asarray(embedding.clusters[...])])
    head = head - np.log(np.exp(head).sum())
    np.testing.assert_allclose(found[1, 2, :5], head[:5], rtol=1e-4, atol=1e-5)
    within = tables[2] @ (projections[2] @ row)
    expected = head[6] + within - np.log(np.exp(within).sum())
    np.testing.assert_allclose(found[1, 2, 11:], expected, rtol=1e-4, atol=1e-5)


def test_only_rare_bands_are_dropped_from(embedding):
    x = jax.random.normal(jax.random.key(1), (1, 2, WIDTH))
    whole, dropped = embedding.logits(x), embedding.logits(x, jax.random.key(2))
    np.testing.assert_array_equal(whole[..., :5], dropped[..., :5])
    assert np.abs(whole[..., 5:] - dropped[..., 5:]).max() > 1e-3
    np.testing.assert_allclose(np.exp(np.asarray(dropped, np.float64)).sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"starts": ()}, "bands.starts must be one or more words"),
        ({"starts": (5, 5)}, "each after the one before"),
        ({"factor": 0}, "bands.factor must be at least 1"),
        ({"dropout": 1.0}, r"bands.dropout must be in \[0, 1\)"),
    ],
)
def test_bands_that_are_none_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Bands(**fields)


def config(**changes):
    given = {"depth": 1, "width": WIDTH, "heads": 2, "vocab": VOCAB, "bands": BANDS, "logits": "tied", **changes}
    return DecoderConfig(**given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab": 11}, "bands.starts must be below vocab=11"),
        ({"width": 14}, "width must divide by bands.factor 2 times"),
        ({"logits": "untied"}, "logits must be 'tied'"),
        ({"slot_positions": "predicted"}, "slot_positions 'given'"),
        ({"ff_dropout": 0.1, "ff_stretch": 8}, "ff_stretch must be None"),
        ({"attention_dropout": 0.1, "residual": "reversible", "logits": "untied", "bands": None}, "residual='plain'"),
        ({"attention_dropout": 1.0}, "attention_dropout must be in"),
    ],
)
def test_a_decoder_refuses_what_does_not_go_with_it(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_a_decoder_over_words_decodes_what_it_computes():
    model = decoder_of(config())
    params = model.init(jax.random.key(0))
    decoder, tokens = model.module(params), jax.random.randint(jax.random.key(1), (2, 4), 0, VOCAB)
    rows, caches = jax.jit(decoder)(tokens), decoder.init_cache(2, 4)
    step = jax.jit(lambda *state: decoder.step(*state, 4))
    for place in range(4):
        logits, caches = step(tokens[:, max(place - 1, 0)], jnp.asarray(place), caches)
        np.testing.assert_allclose(logits, rows[:, place], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rate", ["attention_dropout", "ff_dropout"])
def test_inner_dropout_takes_randomness_only_in_training(rate):
    plain, dropping = (decoder_of(config(**fields)) for fields in ({}, {rate: 0.5}))
    params = plain.init(jax.random.key(0))
    tokens = jax.random.randint(jax.random.key(1), (1, 6), 0, VOCAB)
    run = jax.jit(lambda model, key: model.module(params).hidden(tokens, key), static_argnums=0)
    hidden = lambda model, key: np.asarray(run(model, key))  # noqa: E731
    np.testing.assert_array_equal(hidden(plain, None), hidden(dropping, None))
    np.testing.assert_array_equal(hidden(plain, None), hidden(plain, jax.random.key(3)))
    one, again, other = (hidden(dropping, jax.random.key(n)) for n in (3, 3, 4))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - hidden(plain, None)).max() > 1e-3 and np.abs(one - other).max() > 1e-3
