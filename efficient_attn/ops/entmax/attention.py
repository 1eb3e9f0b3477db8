"""Attention whose weights are alpha-entmax of the scores: exact zeros, and an alpha that can be learned per head.

    o_i = sum_j p_ij v_j,   p_i = entmax_alpha(scale * q_i . k_j over the keys that i may see)

A row's threshold needs all its scores at once, so parts cannot be merged as those of a softmax can. Queries are taken a block
at a time, over the stretch of keys from the first to the last block that they may see; the backward pass computes a block's
scores again. Time O(T * stretch * H), memory O(block * stretch) beside inputs and output: a window is linear in T.

Where we differ from released code: nothing; it keeps the whole ``T x S`` matrix of weights.

References:
  Correia, Niculae and Martins, "Adaptively Sparse Transformers", 2019, section 3.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels.arguments import Arguments, check, hide
from efficient_attn.kernels.dropout import factors, seed_of
from efficient_attn.ops.entmax.mapping import entmax
from efficient_attn.patterns.algebra import Pattern, union_of_heads
from efficient_attn.patterns.block_mask import BlockMask, build_block_mask

_BLOCK = 128


def entmax_attention(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K Hv"],
    pattern: Pattern | BlockMask,
    alpha: float | Float[Array, " N"] = 1.5,
    *,
    scale: float | None = None,
    query_positions: Int[Array, "*rows T"] | None = None,
    key_positions: Int[Array, "*rows_of_keys S"] | None = None,
    key_mask: Bool[Array, "B S"] | None = None,
    segment_ids: Any = None,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
) -> Float[Array, "B T N Hv"]:
    """Attention with entmax in place of the softmax, differentiable in ``alpha`` too.

    Args:
      query: ``N`` heads, a multiple of the ``K`` heads of key and value.
      key: keys.
      value: values.
      pattern: who may attend to whom.
      alpha: 1 is the softmax, 2 sparsemax; a number, or one for each query head.
      scale: factor of the products; default ``H ** -0.5``.
      query_positions: position of each query, ``[T]`` or ``[B, T]``; default: its index. With positions every key is in the
        stretch.
      key_positions: position of each key, ``[S]`` or ``[B, S]``.
      key_mask: False hides a key from every query.
      segment_ids: queries see keys of their own segment only: ``[B, T]`` where ``T == S``, or a pair ``([B, T], [B, S])``.
      dropout_rate: probability of dropping an attention weight. Needs ``dropout_key``.
      dropout_key: PRNG key; as in ``attend``.

    Returns:
      The output in the format of ``value``; 0 for a query that may see nothing.

    Raises:
      ValueError: shapes, positions or an alpha that do not fit.

    Cost: time O(T * stretch * (H + Hv)), memory O(128 * stretch * B * N) beside inputs and output.
    """
    a = check(
        Arguments(
            query, key, value, pattern, query_positions, key_positions, key_mask, segment_ids, None,
            scale, None, dropout_rate, dropout_key,
        )
    )  # fmt: skip
    heads = a.query.shape[2]
    if not isinstance(alpha, int | float) and jnp.shape(alpha) != (heads,):
        raise ValueError(f"alpha must be a number or [{heads}], one for each query head, got shape {jnp.shape(alpha)}")
    return _attend(dataclasses.replace(a, key=hide(a.key, a.key_mask), value=hide(a.value, a.key_mask)), alpha)


def _attend(a: Arguments, alpha: float | jax.Array) -> jax.Array:
    (batch, q_len, *_), k_len = a.query.shape, a.key.shape[1]
    height = min(_BLOCK, q_len)
    starts, width = (
        _stretches(a.pattern, q_len, k_len, height)
        if a.query_positions is None and a.key_positions is None
        else (np.zeros(-(-q_len // height), np.int32), k_len)
    )
    key_positions = _each_row(a.key_positions, k_len)
    seed = seed_of(a.dropout_key) if a.dropout_rate else None

    @jax.checkpoint
    def row(queries: _Queries, start: jax.Array) -> jax.Array:
        cut = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=width, axis=1)
        visible = _with_heads(a.pattern.allows(queries.positions[:, :, None], cut(key_positions)[:, None]))
        if a.key_mask is not None:
            visible = visible & cut(a.key_mask)[:, None, None]
        if queries.segments is not None:
            visible = visible & (queries.segments[:, :, None] == cut(a.segment_ids[1])[:, None])[:, None]
        kept = None if seed is None else _kept(a, seed, queries.slots, start + jnp.arange(width))
        return _row(a, queries.query, cut(a.key), cut(a.value), visible, alpha, kept)

    queries = _Queries(
        query=a.query,
        positions=_each_row(a.query_positions, q_len),
        slots=_each_row(None, q_len),
        segments=None if a.segment_ids is None else a.segment_ids[0],
    )
    blocks = jax.tree.map(lambda x: _blocks(x, height), queries)
    output = jax.lax.map(lambda xs: row(*xs), (blocks, jnp.asarray(starts)))
    output = jnp.moveaxis(output, 0, 1)
    return output.reshape(batch, -1, *output.shape[3:])[:, :q_len]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Queries:
    """Queries and what is known of each; all, or blocks of them along a first axis."""

    query: Float[Array, "*blocks B T N H"]
    positions: Int[Array, "*blocks #B T"]
    slots: Int[Array, "*blocks 1 T"]
    segments: Int[Array, "*blocks B T"] | None


def _each_row(positions: jax.Array | None, length: int) -> jax.Array:
    """Positions with a batch axis, which may be 1; the indices where there are none."""
    positions = jnp.arange(length, dtype=jnp.int32) if positions is None else positions
    return positions if positions.ndim == 2 else positions[None]


def _blocks(x: jax.Array, height: int) -> jax.Array:
    """``[B, T, ...]`` as ``[blocks, B, height, ...]``, filled up with copies of the last query."""
    filled = jnp.pad(x, ((0, 0), (0, -x.shape[1] % height), *((0, 0),) * (x.ndim - 2)), mode="edge")
    return jnp.moveaxis(filled.reshape(x.shape[0], -1, height, *x.shape[2:]), 1, 0)


def _with_heads(visible: jax.Array) -> jax.Array:
    """What a pattern allows, ``[B, T, S]``, or ``[N, B, T, S]`` where heads differ, as ``[B, N, T, S]``."""
    return visible[:, None] if visible.ndim == 3 else jnp.moveaxis(visible, 0, 1)


def _kept(a: Arguments, seed: jax.Array, queries: jax.Array, keys: jax.Array) -> jax.Array:
    """What the weights of these query and key slots are multiplied by."""
    rows, heads = jnp.arange(a.query.shape[0])[:, None, None, None], jnp.arange(a.query.shape[2])[:, None, None]
    return factors(seed, rows, heads, queries[0][:, None], keys, a.dropout_rate)


def _row(a: Arguments, query, key, value, visible, alpha, kept) -> jax.Array:
    """One block of queries ``[B, t, N, H]`` over one stretch of keys ``[B, s, K, H]``."""
    batch, height, heads, size = query.shape
    keys = key.shape[2]
    scale = size**-0.5 if a.scale is None else a.scale
    query = query.reshape(batch, height, keys, heads // keys, size)
    scores = scale * jnp.einsum("btkgh,bskh->bkgts", query, key, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, heads, height, -1)
    alpha = alpha if isinstance(alpha, int | float) else alpha[:, None, None]
    weights = entmax(scores, alpha, where=visible)
    weights = (weights if kept is None else weights * kept).astype(value.dtype)
    weights = weights.reshape(batch, keys, heads // keys, height, -1)
    mixed = jnp.einsum("bkgts,bskh->btkgh", weights, value, preferred_element_type=jnp.float32)
    return mixed.reshape(batch, height, heads, -1).astype(value.dtype)


@functools.lru_cache(maxsize=256)
def _stretches(pattern: Pattern, q_len: int, k_len: int, height: int) -> tuple[np.ndarray, int]:
    """For each block of queries the first key of its stretch, and the keys in the longest."""
    first, end = build_block_mask(union_of_heads(pattern), q_len, k_len, height).plans[0].by_query.extents()
    width = min(max(int((end - first).max(initial=0)), 1) * height, k_len)
    return np.minimum(first * height, k_len - width).astype(np.int32), width
