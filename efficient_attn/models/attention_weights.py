"""The weights of attention in every layer and head of a model, for looking at them."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.models.decoder import Decoder
from efficient_attn.models.encoder import Encoder
from efficient_attn.nn.stack import Stack


def attention_weights(model: Encoder | Decoder, tokens: Int[Array, "B T"]) -> Float[Array, "L B N T T"]:
    """The weight of each pair of tokens, as the layers have them when they read ``tokens``.

    Args:
      model: whose attention compares all tokens of a text, under a pattern or not.
      tokens: the texts; the shift to the right of a decoder happens here.

    Raises:
      ValueError: if the layers have no such weights, or are no plain stack; if the texts are too long.

    Cost: O(L B N T^2) memory.
    """
    if not isinstance(model, Encoder | Decoder) or type(model.stack) is not Stack:
        raise ValueError(
            f"weights are read of an encoder or of a decoder of plain blocks, got a {type(model).__name__}"
        )
    for block in (*model.stack.cycle, *model.stack.rest):
        if not hasattr(block.attention, "weights"):
            raise ValueError(
                "weights are read of attention that compares all tokens, as Sparse or AdaptivelySparse, got "
                f"{type(model.config.attention).__name__}"
            )
    if getattr(model.config, "experts", None) is not None:
        raise ValueError("weights are read of plain blocks, got a model with experts")
    model.config.check_context(tokens.shape[1])
    encoder = isinstance(model, Encoder)
    x = model.embedding(tokens, None) if encoder else model.embedding.shifted(tokens)
    common = model.common(tokens.shape[1]) if encoder else {}

    def noted(block: Any, pattern: Any, state: Any, key: None) -> Any:
        x, number, weights = state
        own = () if encoder else (pattern,)
        found = block.attention.weights(block.entered(x), *own, **common)
        after = block(x, 0.0, key, None, None, **common) if encoder else block(x, pattern, 0.0, key)
        return after, number + 1, weights.at[number].set(found.astype(jnp.float32))

    shape = (model.config.depth, tokens.shape[0], model.config.heads, *tokens.shape[1:] * 2)
    return model.stack.run((x, jnp.int32(0), jnp.zeros(shape, jnp.float32)), None, noted)[2]


def learned_alphas(model: Decoder) -> Float[Array, "L N"] | None:
    """The alpha of each head of alpha-entmax attention, given or learned; None: the model has another attention."""
    if type(model.stack) is not Stack or any(not hasattr(b.attention, "alphas") for b in model.stack.cycle):
        return None
    read = lambda block: jnp.broadcast_to(jnp.asarray(block.attention.alphas()), (block.attention.heads,))  # noqa: E731
    cycled, rest = model.stack.of_blocks(read)
    # Place by place: the layers of a cycle follow each other.
    layers = [jnp.stack(places).reshape(-1, model.config.heads) for places in zip(*cycled, strict=True)]
    return jnp.concatenate([*layers, *(one[None] for one in rest)])
