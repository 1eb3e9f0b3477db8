"""From a trained RoBERTa to a Longformer that continues where it stopped.

References:
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, section 5; released conversion notebook.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from efficient_attn.models.encoder import Encoder, EncoderConfig
from efficient_attn.nn.longformer_attention import Longformer
from efficient_attn.nn.sparse import Sparse
from efficient_attn.nn.text_embedding import CountedPositions
from efficient_attn.patterns.algebra import Full


def longformer_of(model: Encoder, *, tokens: int = 4096, window: int = 512, sep_token: int = 2) -> Encoder:
    """A Longformer with the parameters of ``model``.

    The table of positions is repeated up to the new length, its first rows, which no token takes, once; the projections of
    global tokens begin as copies of the others. On texts of at most half a window, without global tokens, it answers as
    ``model`` does; beyond the old length it has to be trained on.

    Args:
      model: with full attention and counted positions, as RoBERTa has.
      tokens: of the longest text.
      window: tokens that a token sees on both sides together; even.
      sep_token: ends a question, whose tokens are global by default.

    Raises:
      ValueError: if the model is another kind of encoder, or is to become shorter; or for an odd window.
    """
    old = model.config
    full = isinstance(old.attention, Sparse) and set(old.attention.parsed()) == {Full()}
    if not full or not isinstance(old.positions, CountedPositions) or old.relative is not None:
        raise ValueError(
            "a Longformer is made of an encoder with Full() attention and counted positions, got "
            f"{old.attention}, {old.positions} and relative positions {old.relative}"
        )
    if window < 2 or window % 2:
        raise ValueError(f"window must be even and at least 2 tokens, got {window}")
    longest = old.positions.longest(old.pad_token)
    if tokens < longest:
        raise ValueError(f"tokens must be at least the {longest} that the model has positions for, got {tokens}")
    first = old.positions.rows - longest
    config = dataclasses.replace(
        old,
        positions=CountedPositions(rows=first + tokens),
        attention=Longformer(windows=(window // 2,), sep_token=sep_token),
    )
    return _with_parameters(config, model, first)


def copy_to_globals(model: Encoder) -> None:
    """Gives the global projections of all layers the local ones' parameters, as after training without global tokens."""
    for block in (*model.stack.cycle, *model.stack.rest):
        block.attention.copy_to_globals()


def _with_parameters(config: EncoderConfig, model: Encoder, first: int) -> Encoder:
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Encoder(config, key=jax.random.key(0))))
    old = dict(nnx.to_flat_state(nnx.split(model)[1]))

    def parameter(path: tuple[Any, ...], shape: Any) -> Any:
        local = tuple(str(part).removesuffix("_global") if isinstance(part, str) else part for part in path)
        value = old[local][...]
        if path[-1] == "positions":
            whole = jnp.resize(value[first:], (shape.shape[0] - first, value.shape[1]))
            value = jnp.concatenate([value[:first], whole])
        return shape.replace(value)

    flat = [(path, parameter(path, shape)) for path, shape in nnx.to_flat_state(shapes)]
    return nnx.merge(graph, nnx.from_flat_state(flat))
