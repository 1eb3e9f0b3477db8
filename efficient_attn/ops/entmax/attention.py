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

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.kernels.arguments import Arguments, check, hide
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
    query_positions: Int[Array, " T"] | None = None,
    key_positions: Int[Array, " S"] | None = None,
    key_mask: Bool[Array, "B S"] | None = None,
) -> Float[Array, "B T N Hv"]:
    """Attention with entmax in place of the softmax, differentiable in ``alpha`` too.

    Args:
      query: ``N`` heads, a multiple of the ``K`` heads of key and value.
      key: keys.
      value: values.
      pattern: who may attend to whom.
      alpha: 1 is the softmax, 2 sparsemax; a number, or one for each query head.
      scale: factor of the products; default ``H ** -0.5``.
      query_positions: position of each query; default: its index. With positions every key is in the stretch.
      key_positions: position of each key.
      key_mask: False hides a key from every query.

    Returns:
      The output in the format of ``value``; 0 for a query that may see nothing.

    Raises:
      ValueError: shapes, positions or an alpha that do not fit.

    Cost: time O(T * stretch * (H + Hv)), memory O(128 * stretch * B * N) beside inputs and output.
    """
    a = check(
        Arguments(
            query, key, value, pattern, query_positions, key_positions, key_mask, None, None, scale, None, 0.0, None
        )
    )
    heads = a.query.shape[2]
    if not isinstance(alpha, int | float) and jnp.shape(alpha) != (heads,):
        raise ValueError(f"alpha must be a number or [{heads}], one for each query head, got shape {jnp.shape(alpha)}")
    return _attend(dataclasses.replace(a, key=hide(a.key, a.key_mask), value=hide(a.value, a.key_mask)), alpha)


def _attend(a: Arguments, alpha: float | jax.Array) -> jax.Array:
    (batch, q_len, heads, _), k_len = a.query.shape, a.key.shape[1]
    height = min(_BLOCK, q_len)
    starts, width = (
        _stretches(a.pattern, q_len, k_len, height)
        if a.query_positions is None and a.key_positions is None
        else (np.zeros(-(-q_len // height), np.int32), k_len)
    )
    key_positions = jnp.arange(k_len, dtype=jnp.int32) if a.key_positions is None else a.key_positions
    query_positions = jnp.arange(q_len, dtype=jnp.int32) if a.query_positions is None else a.query_positions
    short = -q_len % height
    query = jnp.pad(a.query, ((0, 0), (0, short), (0, 0), (0, 0))).reshape(batch, -1, height, heads, a.query.shape[3])
    rows = jnp.pad(query_positions, (0, short), mode="edge").reshape(-1, height)

    @jax.checkpoint
    def row(query: jax.Array, positions: jax.Array, start: jax.Array) -> jax.Array:
        cut = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=width)
        visible = a.pattern.allows(positions[:, None], cut(key_positions)[None])
        if a.key_mask is not None:
            visible = visible & cut(a.key_mask, axis=1)[:, None, None]
        return _row(a, query, cut(a.key, axis=1), cut(a.value, axis=1), visible, alpha)

    output = jax.lax.map(lambda xs: row(*xs), (jnp.moveaxis(query, 1, 0), rows, jnp.asarray(starts)))
    output = jnp.moveaxis(output, 0, 1)
    return output.reshape(batch, -1, *output.shape[3:])[:, :q_len]


def _row(a: Arguments, query, key, value, visible, alpha) -> jax.Array:
    """One block of queries ``[B, t, N, H]`` over one stretch of keys ``[B, s, K, H]``."""
    batch, height, heads, size = query.shape
    keys = key.shape[2]
    scale = size**-0.5 if a.scale is None else a.scale
    query = query.reshape(batch, height, keys, heads // keys, size)
    scores = scale * jnp.einsum("btkgh,bskh->bkgts", query, key, preferred_element_type=jnp.float32)
    scores = scores.reshape(batch, heads, height, -1)
    alpha = alpha if isinstance(alpha, int | float) else alpha[:, None, None]
    weights = entmax(scores, alpha, where=visible).astype(value.dtype)
    weights = weights.reshape(batch, keys, heads // keys, height, -1)
    mixed = jnp.einsum("bkgts,bskh->btkgh", weights, value, preferred_element_type=jnp.float32)
    return mixed.reshape(batch, height, heads, -1).astype(value.dtype)


@functools.lru_cache(maxsize=256)
def _stretches(pattern: Pattern, q_len: int, k_len: int, height: int) -> tuple[np.ndarray, int]:
    """For each block of queries the first key of its stretch, and the keys in the longest."""
    first, end = build_block_mask(union_of_heads(pattern), q_len, k_len, height).plans[0].by_query.extents()
    width = min(max(int((end - first).max(initial=0)), 1) * height, k_len)
    return np.minimum(first * height, k_len - width).astype(np.int32), width
