"""Drawing tokens, and a sampled text against one written with full forward passes."""

import collections

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.decoding import SamplingOptions, sample
from efficient_attn.decoding.sampling import draw
from efficient_attn.models import Decoder, DecoderConfig, Functional, Sparse

pytestmark = pytest.mark.fast

VOCAB, LENGTH = 13, 19
CONFIG = DecoderConfig(
    depth=2,
    width=16,
    heads=2,
    vocab=VOCAB,
    attention=Sparse(patterns=("Causal() & Window(left=4)", "Causal() & Strided(4)")),
    logits="untied",
    initialization="code",
)
MODEL = Functional(lambda key: Decoder(CONFIG, key=key))
PROMPT = jnp.array([[3, 1, 4], [1, 5, 9]], jnp.int32)
PROBABILITIES = np.array([0.05, 0.4, 0.3, 0.2, 0.05])


@pytest.fixture(scope="module")
def params():
    # A sharper head, so that the drawn tokens depend on those before.
    params = MODEL.init(jax.random.key(0))
    params["embedding"]["head"] = params["embedding"]["head"] * 10
    return params


def frequencies(options, draws=4000):
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(PROBABILITIES, jnp.float32)), (draws, 5))
    drawn = draw(logits, options, jax.random.key(0))
    chex.assert_shape(drawn, (draws,))
    chex.assert_type(drawn, jnp.int32)
    counts = collections.Counter(drawn.tolist())
    return np.array([counts[token] / draws for token in range(5)])


def renormalised(tokens, temperature=1.0):
    kept = np.where(np.isin(np.arange(5), tokens), PROBABILITIES, 0) ** (1 / temperature)
    return kept / kept.sum()


CASES = {
    "all": ({}, [0, 1, 2, 3, 4], 1.0),
    "top_k 1": ({"top_k": 1}, [1], 1.0),
    "top_k 2": ({"top_k": 2}, [1, 2], 1.0),
    "top_k beyond the vocabulary": ({"top_k": 99}, [0, 1, 2, 3, 4], 1.0),
    "top_p tiny": ({"top_p": 1e-6}, [1], 1.0),
    "top_p 0.5": ({"top_p": 0.5}, [1, 2], 1.0),
    "top_p 0.8": ({"top_p": 0.8}, [1, 2, 3], 1.0),
    "top_p 1": ({"top_p": 1.0}, [0, 1, 2, 3, 4], 1.0),
    "both": ({"top_k": 3, "top_p": 0.7}, [1, 2], 1.0),
    "hot": ({"temperature": 3.0}, [0, 1, 2, 3, 4], 3.0),
    "cold": ({"temperature": 0.5, "top_k": 2}, [1, 2], 0.5),
}


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_frequencies_that_the_options_ask_for(name):
    changes, tokens, temperature = CASES[name]
    found = frequencies(SamplingOptions(**changes))
    np.testing.assert_allclose(found, renormalised(tokens, temperature), atol=0.03)
    assert set(np.flatnonzero(found)) <= set(tokens)


def test_temperature_0_takes_the_most_probable():
    logits = jax.random.normal(jax.random.key(0), (7, 5))
    for seed in (0, 1):
        drawn = draw(logits, SamplingOptions(temperature=0.0), jax.random.key(seed))
        np.testing.assert_array_equal(drawn, jnp.argmax(logits, -1))


def naively(params, prompt, options, key):
    """The same text by a full forward pass for every token."""
    full = jax.jit(lambda params, tokens: MODEL.module(params)(tokens))
    tokens = jnp.zeros((prompt.shape[0], LENGTH), jnp.int32).at[:, : prompt.shape[1]].set(prompt)
    for position in range(prompt.shape[1], LENGTH):
        drawn = draw(full(params, tokens)[:, position], options, jax.random.fold_in(key, position))
        tokens = tokens.at[:, position].set(drawn)
    return tokens


@pytest.mark.parametrize("options", [SamplingOptions(temperature=0.0), SamplingOptions(top_k=5, top_p=0.9)], ids=str)
def test_equals_full_forward_passes_and_keeps_the_prompt(params, options):
    found = sample(MODEL, params, PROMPT, LENGTH, options, jax.random.key(7))
    chex.assert_shape(found, (2, LENGTH))
    np.testing.assert_array_equal(found[:, :3], PROMPT)
    np.testing.assert_array_equal(found, naively(params, PROMPT, options, jax.random.key(7)))


def test_the_key_decides(params):
    first, again, other = (
        sample(MODEL, params, PROMPT, LENGTH, SamplingOptions(), jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first[:, 3:] != other[:, 3:]).any()


def test_an_empty_prompt_and_a_full_one(params):
    empty = jnp.zeros((2, 0), jnp.int32)
    found = sample(MODEL, params, empty, LENGTH, SamplingOptions(), jax.random.key(0))
    np.testing.assert_array_equal(found, naively(params, empty, SamplingOptions(), jax.random.key(0)))
    np.testing.assert_array_equal(sample(MODEL, params, PROMPT, 3, SamplingOptions(), jax.random.key(0)), PROMPT)


BAD = {
    "temperature": ({"temperature": -0.1}, "temperature must be at least 0, got -0.1"),
    "temperature nan": ({"temperature": float("nan")}, "temperature must be at least 0, got nan"),
    "top_k": ({"top_k": 0}, "top_k must be at least 1, got 0"),
    "top_p": ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
    "top_p above": ({"top_p": 1.5}, "got 1.5"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_options(name):
    changes, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        SamplingOptions(**changes)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([[0] * 20], "the prompt has 20 tokens, more than the 19"), ([[1, 13]], "13, but the vocabulary"), ([[-1]], "-1")],
)
def test_refuses_prompts(params, prompt, message):
    with pytest.raises(ValueError, match=message):
        sample(MODEL, params, jnp.asarray(prompt), LENGTH, SamplingOptions(), jax.random.key(0))
