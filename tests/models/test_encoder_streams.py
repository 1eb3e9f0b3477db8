"""An encoder over two streams: the same as all rows under the masks as they stand, and no token is told from itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from efficient_attn.models import Encoder, EncoderConfig, Sparse
from efficient_attn.models.encoder import RelativeBuckets
from efficient_attn.models.two_stream import Streams, check_two_stream, read_streams
from efficient_attn.nn.text_embedding import CountedPositions, SlotPositions
from efficient_attn.ops.two_stream import masked_attention, mpnet_masks

B, T, P = 2, 13, 4
CONFIG = EncoderConfig(
    vocab=31,
    depth=2,
    width=12,
    heads=2,
    ff_width=20,
    positions=CountedPositions(rows=17),
    pad_token=1,
    relative=RelativeBuckets(buckets=8, longest=9),
    head="masked_lm",
    pooler=False,
    norm_epsilon=1e-5,
)
PREDICTED = np.array([[7, 0, 12, 3], [2, 10, 9, 5]])
KEPT = np.array([np.setdiff1d(np.arange(T), row) for row in PREDICTED])


@pytest.fixture(scope="module")
def encoder():
    model = Encoder(CONFIG, key=jax.random.key(0))
    # Weights that are large enough for every token to matter.
    graph, state = nnx.split(model)
    return nnx.merge(graph, jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), state))


def texts():
    rng = np.random.default_rng(0)
    tokens, asked = rng.integers(2, 30, (B, T)), np.array([[30, 30, 4, 30], [30, 5, 30, 30]])
    shown = tokens.copy()
    np.put_along_axis(shown, PREDICTED, asked, axis=1)
    told = np.take_along_axis(tokens, PREDICTED, axis=1)
    return Streams(shown=shown, told=told, asked=asked, predicted=PREDICTED, key_mask=np.ones((B, T + P), bool))


@jax.jit
def _read(graph, state, streams):
    return read_streams(nnx.merge(graph, state), streams)


def read(encoder, streams):
    return np.asarray(_read(*nnx.split(encoder), streams))


def literally(encoder, streams):
    """As released code does it: tokens in the drawn order, masks of all rows over all keys, a bias of every pair."""
    text = np.asarray(streams.shown)
    kept = np.take_along_axis(text, KEPT, axis=1)
    slots = np.concatenate([KEPT, PREDICTED, PREDICTED], axis=1)
    both = np.concatenate([slots, PREDICTED], axis=1)
    x = encoder.embedding(
        jnp.asarray(np.concatenate([kept, streams.told, streams.asked, streams.asked], axis=1)),
        None,
        jnp.asarray(both + CONFIG.pad_token + 1),
    )
    masks, bias = mpnet_masks(T - P, P), encoder.relative(T)
    mask = np.vstack([masks.content, masks.query])
    pairs = jnp.swapaxes(bias.values[:, bias.columns(jnp.asarray(both[:, :, None]), jnp.asarray(slots[:, None]))], 0, 1)

    def each(block, pattern, x, key):
        over = lambda *heads, **settings: masked_attention(*heads, mask, pairs)  # noqa: E731
        return block.around(lambda x, key: block.attention.mixed(over, x, x[:, : T + P], key), x, 0.0, None)

    return np.asarray(encoder.stack.run(x, None, each))[:, T + P :]


def test_it_is_the_literal_form(encoder):
    streams = texts()
    np.testing.assert_allclose(read(encoder, streams), literally(encoder, streams), atol=2e-5)


def test_a_token_is_told_from_those_before_it_alone(encoder):
    streams = texts()
    before = read(encoder, streams)
    for place in range(P):
        told = np.asarray(streams.told).copy()
        told[:, place] = 29 - told[:, place]
        after = read(encoder, dataclasses.replace(streams, told=told))
        np.testing.assert_array_equal(after[:, : place + 1], before[:, : place + 1])
        assert (np.abs(after[:, place + 1 :] - before[:, place + 1 :]).max(-1) > 1e-4).all()


def test_what_is_hidden_changes_nothing(encoder):
    hidden = np.ones((B, T + P), bool)
    hidden[:, [6, T + P - 1]] = False
    streams = dataclasses.replace(texts(), key_mask=hidden)
    shown, told = np.asarray(streams.shown).copy(), np.asarray(streams.told).copy()
    shown[:, 6], told[:, P - 1] = 9, 9
    spoiled = dataclasses.replace(streams, shown=shown, told=told)
    np.testing.assert_array_equal(read(encoder, spoiled), read(encoder, streams))


def test_other_attention_is_refused():
    windows = dataclasses.replace(CONFIG, positions=SlotPositions(rows=16), attention=Sparse(patterns=("Window(3)",)))
    with pytest.raises(ValueError, match="two streams need an encoder with attention"):
        check_two_stream(windows)
