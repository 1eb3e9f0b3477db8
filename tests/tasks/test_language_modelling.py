"""Cross-entropy against plain formulas, counts, and scores that add up whatever the batches and the windows."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.data import EvaluationWindows, TokenStream, evaluation_batches
from efficient_attn.models import Decoder, DecoderConfig, Functional, Sparse
from efficient_attn.tasks import LanguageModelling
from efficient_attn.tasks.language_modelling import Score, cross_entropy, score, score_step
from efficient_attn.training import Mean

pytestmark = pytest.mark.fast

CONFIG = DecoderConfig(
    depth=1, width=8, heads=2, vocab=17, attention=Sparse(patterns=("Causal() & Window(left=3)",)), logits="untied"
)
MODEL = Functional(lambda key: Decoder(CONFIG, key=key))


@pytest.fixture(scope="module")
def params():
    return MODEL.init(jax.random.key(0))


@pytest.fixture
def stream():
    tokens = np.random.default_rng(0).integers(0, 17, 101).astype(np.uint8)
    return TokenStream(tokens=tokens, description="made for a test")


def test_cross_entropy_by_hand():
    logits = jnp.log(jnp.array([[[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]]])) + 3.0
    found = cross_entropy(logits, jnp.array([[1, 2]]))
    chex.assert_shape(found, (1, 2))
    np.testing.assert_allclose(found, [[math.log(4), -math.log(0.7)]], rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothed_cross_entropy_is_a_divergence(smoothing):
    logits = jax.random.normal(jax.random.key(0), (2, 5, 7))
    targets = jax.random.randint(jax.random.key(1), (2, 5), 0, 7)
    wanted = (
        jnp.full((2, 5, 7), smoothing / 6).at[jnp.arange(2)[:, None], jnp.arange(5)[None], targets].set(1 - smoothing)
    )
    divergence = (wanted * (jnp.log(wanted) - jax.nn.log_softmax(logits))).sum(-1)
    np.testing.assert_allclose(cross_entropy(logits, targets, smoothing), divergence, atol=1e-5)
    # The least is 0, at the smoothed distribution itself.
    np.testing.assert_allclose(cross_entropy(jnp.log(wanted), targets, smoothing), 0, atol=1e-5)
    drift = 0.5 * jax.nn.logsumexp(logits, axis=-1) ** 2
    for share in (0.0, smoothing):
        plain = cross_entropy(logits, targets, share)
        np.testing.assert_allclose(cross_entropy(logits, targets, share, z_loss=0.5), plain + drift, rtol=1e-5)
    gradient = jax.grad(lambda logits: cross_entropy(logits, targets, smoothing).sum())(jnp.log(wanted))
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_without_smoothing_nothing_is_smoothed():
    logits = jax.random.normal(jax.random.key(0), (2, 5, 7))
    targets = jnp.ones((2, 5), jnp.int32)
    np.testing.assert_allclose(cross_entropy(logits, targets, 1e-7), cross_entropy(logits, targets), atol=1e-4)


def test_the_term_counts_valid_tokens_only(params):
    tokens = jax.random.randint(jax.random.key(1), (3, 11), 0, 17)
    valid = jnp.arange(11)[None] < jnp.array([[11], [4], [0]])
    task = LanguageModelling(MODEL, 0.0, Mean)
    batch = {"tokens": tokens, "valid": valid}
    assert float(task.counts(batch)["loss"]) == 15
    terms, carry = task(params, batch, None, ("carry",))
    assert carry == ("carry",)
    assert set(terms) == {"loss"}
    losses = cross_entropy(MODEL.module(params)(tokens), tokens)
    assert float(terms["loss"].sum) == pytest.approx(float((losses * valid).sum()), rel=1e-5)
    assert float(terms["loss"].count) == 15
    other, _ = task(params, {"tokens": tokens.at[2].set(0).at[1, 4:].set(0), "valid": valid}, None, ())
    assert float(other["loss"].sum) == pytest.approx(float(terms["loss"].sum), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize(("context", "scored"), [(13, 13), (13, 4), (13, 1), (128, 128), (101, 7)])
def test_every_protocol_scores_every_token_once(stream, batch_size, context, scored):
    windows = EvaluationWindows(context=context, scored=scored)
    seen = np.zeros(101, int)

    def step(_, batch):
        counted = batch["scored"] & batch["valid"]
        # The weight of a token is its place in the stream, found again from its window.
        for row in np.flatnonzero(counted.any(-1)):
            start = windows.window(step.window + int(row), 101).start
            seen[start + np.flatnonzero(counted[row])] += 1
        step.window += batch_size
        return jnp.asarray(counted.sum(-1) * 2.0), jnp.asarray(counted.sum(-1)), jnp.asarray(counted.sum(-1) * 1.0)

    step.window = 0
    result = score(step, None, evaluation_batches(stream, windows, batch_size), stream.words)
    assert (seen == 1).all()
    assert (result.nats, result.tokens) == (202.0, 101)


@pytest.mark.parametrize("scored", [13, 5])
def test_scores_do_not_depend_on_the_batches(params, stream, scored):
    windows = EvaluationWindows(context=13, scored=scored)
    step = score_step(MODEL)
    results = [score(step, params, evaluation_batches(stream, windows, size), 20) for size in (1, 4)]
    assert results[0].tokens == results[1].tokens == 101
    assert results[0].nats == pytest.approx(results[1].nats, rel=1e-6)
    nats = 0.0
    for index in range(windows.count(101)):
        window = windows.window(index, 101)
        tokens = jnp.asarray(stream.tokens[window.start : window.stop], jnp.int32)[None]
        tokens = jnp.pad(tokens, ((0, 0), (0, 13 - tokens.shape[1])))
        losses = step(params, {"tokens": tokens, "valid": tokens >= 0, "scored": mask(window)})[0]
        nats += float(losses.sum())
    assert results[0].nats == pytest.approx(nats, rel=1e-6)


def mask(window):
    places = np.arange(13) + window.start
    return jnp.asarray((places >= window.scored_from) & (places < window.stop))[None]


def test_sums_are_kept_in_double_precision():
    rows = (jnp.full(1000, 1.1, jnp.float32), jnp.ones(1000, jnp.int32), jnp.zeros(1000))
    result = score(lambda *_: rows, None, range(3000), None)
    assert result.nats == pytest.approx(float(np.float32(1.1)) * 3_000_000, rel=1e-12)
    assert result.tokens == 3_000_000


def test_report():
    report = Score(nats=200 * math.log(2), tokens=100, right=25, words=20).report()
    assert report == {
        "loss": pytest.approx(2 * math.log(2)),
        "bits_per_byte": pytest.approx(2.0),
        "perplexity_per_token": pytest.approx(4.0),
        "accuracy": 0.25,
        "tokens": 100,
        "perplexity_per_word": pytest.approx(2.0**10),
    }
    assert "perplexity_per_word" not in Score(nats=1.0, tokens=1, right=0, words=None).report()
    assert math.isfinite(Score(nats=1e9, tokens=1, right=0, words=1).report()["perplexity_per_word"])


def test_there_must_be_something_to_score():
    with pytest.raises(ValueError, match="nothing to score"):
        score(lambda *_: None, None, [], None)
