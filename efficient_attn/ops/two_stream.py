"""Two-stream attention with position compensation: tokens told in a random order, each given the positions of all others.

A text of ``T`` slots has ``P`` predicted ones, told in a random order; the others are kept. There are four kinds of rows:
kept tokens N, for each predicted slot its true token P_i and what is shown in its place M_i (these three are the content
stream), and a query Q_i that has to tell the token. Keys and values come from the content stream alone:

    N, M_i  see  all N, all M
    P_i     sees all N, P_j with j <= i, M_j with j >  i
    Q_i     sees all N, P_j with j <  i, M_j with j >= i

So every row sees exactly ``T`` keys, one of each position: what is not known yet is there as a mask at its position. Put on
a line, ``M_0 .. M_{P-1}`` at ``-P-1 .. -2``, all N at ``-1`` and ``P_j`` at ``j``, the predicates are one window of ``P + 1``
positions that ends at the row's own step: ``-1`` for N and M, ``i`` for P_i and ``i - 1`` for Q_i. Without M, by hiding it
from all, this is XLNet's permuted language modelling.

N and M see each other and nothing else, which is ordinary attention over the shown text in its own order; only the ``2 P``
rows of P and Q need the window and biases of their own. Scores: ``T^2 + 2 P (T + P)``, ``1.35 T^2`` where 15 % are predicted;
the masks of all rows over all keys, as released code has them, ``(T + P)^2 + P (T + P) = 1.50 T^2``.

References:
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, sections 2.2 and 2.3.
  Yang et al., "XLNet: Generalized Autoregressive Pretraining for Language Understanding", 2019, section 2.3.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels import RelativeBias, attend
from efficient_attn.patterns.algebra import Full
from efficient_attn.patterns.local import Window


@dataclasses.dataclass(frozen=True)
class StreamMasks:
    """Who sees whom, for looking at and for testing: columns are N, then P in their order, then M."""

    content: Bool[np.ndarray, "S S"]
    """Rows as columns."""
    query: Bool[np.ndarray, "P S"]
    """Rows of the queries."""


def mpnet_masks(kept: int, predicted: int) -> StreamMasks:
    """The masks of masked and permuted language modelling."""
    i, j = np.arange(predicted)[:, None], np.arange(predicted)[None, :]
    told = lambda seen: np.hstack([np.ones((predicted, kept), bool), seen, ~seen])  # noqa: E731
    shown = np.repeat([[True] * kept + [False] * predicted + [True] * predicted], kept + predicted, axis=0)
    return StreamMasks(np.vstack([shown[:kept], told(j <= i), shown[kept:]]), told(j < i))


def plm_masks(kept: int, predicted: int) -> StreamMasks:
    """The masks of permuted language modelling, which has no M: columns are N and P."""
    whole, seen = mpnet_masks(kept, predicted), kept + predicted
    return StreamMasks(whole.content[:seen, :seen], whole.query[:, :seen])


def mlm_masks(kept: int, predicted: int) -> StreamMasks:
    """The masks of masked language modelling, columns N and M: its queries are the rows M themselves."""
    return StreamMasks(
        np.ones((kept + predicted, kept + predicted), bool), np.ones((predicted, kept + predicted), bool)
    )


def masked_attention(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S N H"],
    value: Float[Array, "B S N H"],
    mask: Bool[Any, "T S"],
    bias: Float[Array, "B N T S"] | None = None,
) -> Float[Array, "B T N H"]:
    """Softmax attention by a mask as it stands, the definition that ``two_stream_attention`` is tested against.

    Cost: time and memory O(B * N * T * S).
    """
    scores = jnp.einsum("btnh,bsnh->bnts", query, key) * query.shape[-1] ** -0.5
    weights = jax.nn.softmax(jnp.where(mask, scores if bias is None else scores + bias, -jnp.inf), axis=-1)
    return jnp.einsum("bnts,bsnh->btnh", weights, value)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamBias:
    """The biases of both parts, the same for all layers of a call."""

    shown: RelativeBias
    """Among N and M."""
    told: Float[Any, "B N R S"]
    """Of P and Q over the whole content stream."""


def stream_bias(bias: RelativeBias, predicted: Int[Array, "B P"], tokens: int) -> StreamBias:
    """The biases where scores have one by offset between the slots of the text, whatever the order of telling.

    Args:
      bias: by offset.
      predicted: slot of each predicted token, in the order in which they are told.
      tokens: slots of the text.
    """
    rows = jnp.concatenate([predicted, predicted], axis=1)[:, :, None]
    slots = jnp.broadcast_to(jnp.arange(tokens), (len(predicted), tokens))
    columns = bias.columns(rows, jnp.concatenate([slots, predicted], axis=1)[:, None])
    return StreamBias(shown=bias, told=jnp.swapaxes(bias.values[:, columns], 0, 1))


def two_stream_attention(
    query: Float[Array, "B R N H"],
    key: Float[Array, "B S N H"],
    value: Float[Array, "B S N H"],
    predicted: Int[Array, "B P"],
    *,
    key_mask: Bool[Array, "B S"] | None = None,
    bias: StreamBias | None = None,
    **settings: Any,
) -> Float[Array, "B R N H"]:
    """Attention of both streams, exact: the shown text in its own order, then the rows of P and Q.

    Args:
      query: ``R = T + 2 P`` rows: the shown text (N and M in the order of the text), then P and Q in the order of telling.
      key: ``S = T + P`` rows: the shown text, then P.
      value: the same.
      predicted: slot of each predicted token, in the order in which they are told; no slot twice.
      key_mask: False hides a key from all.
      bias: of the scores.
      settings: ``dropout_rate``, ``dropout_key``, ``query_spec``, ``implementation`` of ``attend``.

    Raises:
      ValueError: if the numbers of rows do not fit each other.

    Cost: two calls of ``attend``, ``T^2 + 2 P (T + P)`` scores.
    """
    told = predicted.shape[1]
    tokens = key.shape[1] - told
    if tokens < told or query.shape[1] != tokens + 2 * told:
        raise ValueError(
            f"{told} predicted of T >= {told} tokens need T + {told} keys and T + {2 * told} queries, got "
            f"{key.shape[1]} keys and {query.shape[1]} queries"
        )
    dropout_key = settings.pop("dropout_key", None)
    keys = (None, None) if dropout_key is None else jax.random.split(dropout_key)
    shown = attend(
        *(x[:, :tokens] for x in (query, key, value)),
        Full(),
        key_mask=None if key_mask is None else key_mask[:, :tokens],
        bias=None if bias is None else bias.shown,
        dropout_key=keys[0],
        **settings,
    )
    streams = attend(
        query[:, tokens:],
        key,
        value,
        Window(left=told),
        query_positions=jnp.concatenate([jnp.arange(told), jnp.arange(told) - 1]),
        key_positions=_on_the_line(predicted, tokens),
        key_mask=key_mask,
        bias=None if bias is None else bias.told,
        dropout_key=keys[1],
        **settings,
    )
    return jnp.concatenate([shown, streams], axis=1)


def _on_the_line(predicted: Int[Array, "B P"], tokens: int) -> Int[Array, "B S"]:
    """The place of each key on the line of the module's docstring."""
    rows, told = predicted.shape
    steps = jnp.arange(told, dtype=jnp.int32)
    shown = jnp.full((rows, tokens), -1, jnp.int32).at[jnp.arange(rows)[:, None], predicted].set(steps - told - 1)
    return jnp.concatenate([shown, jnp.broadcast_to(steps, (rows, told))], axis=1)
