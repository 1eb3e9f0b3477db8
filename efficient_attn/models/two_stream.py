"""An encoder over two streams: what it makes of the predicted tokens of a text that it reads in a random order.

Reference:
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, section 2.3.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.models.encoder import Encoder, EncoderConfig
from efficient_attn.nn.dropout import drop
from efficient_attn.nn.encoder_block import EncoderBlock
from efficient_attn.nn.sparse import Sparse
from efficient_attn.ops.two_stream import stream_bias, two_stream_attention
from efficient_attn.patterns.algebra import Full


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Streams:
    """Texts of ``T`` tokens, of each of which ``P`` are told in an order of their own."""

    shown: Int[Any, "B T"]
    """The text, with whatever stands in the places of the predicted tokens: N and M of ``ops.two_stream``."""
    told: Int[Any, "B P"]
    """The predicted tokens themselves, in the order in which they are told."""
    asked: Int[Any, "B P"]
    """What the queries are made of."""
    predicted: Int[Any, "B P"]
    """Slots of the predicted tokens."""
    key_mask: Bool[Any, "B S"]
    """False hides a slot of ``shown``, or one of ``told`` after them, from all."""


def check_two_stream(config: EncoderConfig) -> None:
    """A ValueError if a model has attention that two streams cannot replace."""
    if not isinstance(config.attention, Sparse) or set(config.attention.parsed()) != {Full()}:
        raise ValueError(f"two streams need an encoder with attention Full(), got {config.attention}")


def read_streams(encoder: Encoder, streams: Streams, *, key: jax.Array | None = None) -> Float[Array, "B P D"]:
    """The end of the residual stream of the queries, which no told token has seen that it is to tell.

    Args:
      encoder: with attention ``Full()``.
      streams: the texts.
      key: randomness of the dropout; None is evaluation.

    Cost: that of the encoder on ``T + 2 P`` tokens, and ``T^2 + 2 P (T + P)`` scores in each layer.
    """
    tokens, told = streams.shown.shape[1], streams.predicted.shape[1]
    dropout = encoder.config.dropout
    keys = (None, None) if key is None else jax.random.split(key)
    predicted = jnp.asarray(streams.predicted)
    bias = None if encoder.relative is None else stream_bias(encoder.relative(tokens), predicted, tokens)

    def each(block: EncoderBlock, pattern: Any, x: jax.Array, key: jax.Array | None) -> jax.Array:
        del pattern  # That of all layers is Full().

        def over(*heads: jax.Array, **drawn: Any) -> jax.Array:
            return two_stream_attention(*heads, predicted, key_mask=streams.key_mask, bias=bias, **drawn)

        attention = lambda x, key: block.attention.mixed(over, x, x[:, : tokens + told], key)  # noqa: E731
        return block.around(attention, x, dropout, key)

    x = drop(_embedded(encoder, streams), dropout, keys[0])
    return encoder.stack.run(x, keys[1], each)[:, tokens + told :]


def _embedded(encoder: Encoder, streams: Streams) -> Float[Array, "B R D"]:
    """The shown text, then the told tokens, then the queries, both at the positions of their slots."""
    embedding, predicted = encoder.embedding, jnp.asarray(streams.predicted)
    places = jnp.broadcast_to(embedding.places(jnp.asarray(streams.shown)), streams.shown.shape)
    own = jnp.take_along_axis(places, predicted, axis=1)
    rows = jnp.concatenate([streams.shown, streams.told, streams.asked], axis=1)
    return embedding(rows, None, jnp.concatenate([places, own, own], axis=1))
