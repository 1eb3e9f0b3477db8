"""Linformer: keys and values compressed along the length before attention.

    head = softmax(Q (E K)^T / sqrt(H)) (F V),   E, F: k x S

The softmax runs over the k compressed slots, so time and memory grow as T k, not T S. Sharing is a matter of which arrays are
passed: one projection per head ``[K, k, S]``, one for all heads ``[k, S]``, the same for keys and values, the same in each layer.
In place of a learned projection, ``mean_pool``, ``max_pool`` and ``convolve`` compress windows of ``S / k`` tokens.

There is no causal form: each compressed key mixes all positions, and no mask over the k slots hides the future.
``ops.block_linformer`` is its relative in causal order.

Where we differ from released code: hidden keys (padding) are zeroed before they are mixed, where fairseq's mask does nothing. The
result then does not depend on what padding holds; it still depends on where tokens lie, as the projection does. fairseq projects
the tokens before the key and value matrices, which is cheaper: ``compress`` does that on ``[B, S, 1, D]``; without biases in those
matrices the results are equal.

References:
  Wang et al., "Linformer: Self-Attention with Linear Complexity", 2020, equation 7 and section 4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efficient_attn.kernels import attend
from efficient_attn.kernels.arguments import hide
from efficient_attn.kernels.problem import pad_end
from efficient_attn.patterns.algebra import Full

# [k, L] for all heads or [K, k, L]. The sizes are checked by the functions, whose messages name them.
Projection = Float[Array, "_ _"] | Float[Array, "_ _ _"]


def linformer_attention(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K Hv"],
    key_projection: Projection,
    value_projection: Projection,
    *,
    key_mask: Bool[Array, "B S"] | None = None,
    scale: float | None = None,
) -> Float[Array, "B T N Hv"]:
    """Attention over keys and values that are first projected from ``S`` tokens to ``k`` slots. Not causal.

    Args:
      query: queries; ``N`` is a multiple of ``K``.
      key: keys.
      value: values.
      key_projection: ``E``, for all heads ``[k, L]`` or per key head ``[K, k, L]``. Where ``L`` exceeds ``S``, its
        first ``S`` columns are used.
      value_projection: ``F``, with the same number of slots; the same array for the key-value sharing of the paper.
      key_mask: False keeps a token out of every slot.
      scale: factor of the products; default ``H ** -0.5``.

    Returns:
      The result of each query; 0 for batch rows whose keys are all hidden.

    Raises:
      ValueError: if a projection is for fewer than ``S`` tokens or not for ``K`` heads, or the numbers of slots differ.

    Cost: O(B (S K + T N) k H) time, O(B k (K H + T N)) extra memory.
    """
    if key_projection.shape[-2] != value_projection.shape[-2]:
        raise ValueError(
            "key_projection and value_projection must have the same number of slots, got "
            f"{key_projection.shape[-2]} and {value_projection.shape[-2]}"
        )
    short_key, short_value = compress(key, key_projection, key_mask), compress(value, value_projection, key_mask)
    return attend(query, short_key, short_value, Full(), scale=scale)


def compress(
    x: Float[Array, "B S K H"], projection: Projection, key_mask: Bool[Array, "B S"] | None = None
) -> Float[Array, "B slots K H"]:
    """Projects the ``S`` tokens of each head to ``k`` slots.

    Args:
      x: keys, values, or with ``K = 1`` the tokens themselves.
      projection: ``[k, L]`` for all heads or ``[K, k, L]``. Of a longer one, the first ``S`` columns are used.
      key_mask: False keeps a token out of every slot, whatever it holds.

    Raises:
      ValueError: if the projection is for fewer than ``S`` tokens or for other than ``K`` heads.

    Cost: O(B S K k H) time.
    """
    tokens, heads = x.shape[1:3]
    if projection.shape[-1] < tokens:
        raise ValueError(f"the projection is for up to {projection.shape[-1]} tokens, got {tokens}")
    if projection.ndim == 3 and projection.shape[0] != heads:
        raise ValueError(f"the projection is for {projection.shape[0]} heads, got {heads}")
    mixing = "ps,bskh->bpkh" if projection.ndim == 2 else "kps,bskh->bpkh"
    return jnp.einsum(mixing, projection[..., :tokens].astype(x.dtype), hide(x, key_mask))


def mean_pool(
    x: Float[Array, "B S K H"], stride: int, key_mask: Bool[Array, "B S"] | None = None
) -> Float[Array, "B slots K H"]:
    """Means of windows of ``stride`` tokens, over the tokens that take part; 0 where none does (see ``slot_mask``).

    Args:
      x: keys or values.
      stride: tokens per slot; ``k`` is ``S / stride`` rounded up.
      key_mask: False keeps a token out.

    Raises:
      ValueError: if ``stride`` is below 1.

    Cost: O(B S K H).
    """
    sums = _windows(hide(x, key_mask), stride).astype(jnp.float32).sum(2)
    counts = _windows(_mask_of(x, key_mask)[:, :, None, None], stride).sum(2)
    return (sums / jnp.maximum(counts, 1)).astype(x.dtype)


def max_pool(
    x: Float[Array, "B S K H"], stride: int, key_mask: Bool[Array, "B S"] | None = None
) -> Float[Array, "B slots K H"]:
    """Maxima of windows of ``stride`` tokens, over the tokens that take part. Arguments and errors as for ``mean_pool``."""
    mask = _windows(_mask_of(x, key_mask)[:, :, None, None], stride)
    peaks = jnp.where(mask, _windows(hide(x, key_mask), stride), -jnp.inf).max(2)
    return jnp.where(mask.any(2), peaks, 0).astype(x.dtype)


def convolve(
    x: Float[Array, "B S K H"],
    kernel: Float[Array, "_ H Hv"] | Float[Array, "_ _ H Hv"],
    key_mask: Bool[Array, "B S"] | None = None,
) -> Float[Array, "B slots K Hv"]:
    """A convolution whose stride is its kernel's length ``r``: each slot is a linear map of its ``r`` tokens.

    Args:
      x: keys or values.
      kernel: ``[r, H, Hv]`` for all heads, or ``[r, K, H, Hv]``.
      key_mask: False keeps a token out.

    Raises:
      ValueError: if the kernel is for other than ``K`` heads.

    Cost: O(B S K H Hv).
    """
    if kernel.ndim == 4 and kernel.shape[1] != x.shape[2]:
        raise ValueError(f"the kernel is for {kernel.shape[1]} heads, got {x.shape[2]}")
    mixing = "bprkh,rhv->bpkv" if kernel.ndim == 3 else "bprkh,rkhv->bpkv"
    return jnp.einsum(mixing, _windows(hide(x, key_mask), kernel.shape[0]), kernel.astype(x.dtype))


def slot_mask(key_mask: Bool[Array, "B S"], stride: int) -> Bool[Array, "B slots"]:
    """Which windows hold a token that takes part: the ``key_mask`` of attention over pooled keys."""
    return _windows(key_mask, stride).any(2)


def _mask_of(x: jax.Array, key_mask: jax.Array | None) -> jax.Array:
    return jnp.ones(x.shape[:2], bool) if key_mask is None else key_mask


def _windows(x: jax.Array, stride: int) -> jax.Array:
    """``[B, S, ...]`` as ``[B, k, stride, ...]``, filled up with zeros (False)."""
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    x = pad_end(x, 1, -x.shape[1] % stride)
    return x.reshape(x.shape[0], -1, stride, *x.shape[2:])
