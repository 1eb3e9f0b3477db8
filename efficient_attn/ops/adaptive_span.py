"""Adaptive attention span: each head learns how far back it looks.

    m_z(x) = clip((R + z - x) / R, 0, 1),   a_tr = m_z(t - r) exp(s_tr) / sum_q m_z(t - q) exp(s_tq),   r < t
    s_tr = (q_t . k_r + q_t . p_{t-r}) / sqrt(H)
    loss = NLL + (lambda / N) sum of z over all heads of all layers

z is a span in tokens, per head, or per token and head ("dynamic"); R the length of the soft ramp (32 in the paper). The current
token is not seen. Since ``m exp(s) = exp(s + log m)``, this is softmax attention with a bias that depends on the distance, and it
runs on the block-sparse kernel: time O(T * limit), and nothing of size T * S is kept.

Where we differ from released code: distances are t - r as in the paper (the authors' code subtracts 1); the division is exact
(theirs adds 1e-8), so that cutting keys beyond every span changes nothing; slots before the first token are not seen (theirs
are zeros that take weight); the first token sees nothing and gets 0. fairseq's port does not renormalise.

References:
  Sukhbaatar et al., "Adaptive Attention Span in Transformers", 2019, sections 2 and 3.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from efficient_attn.kernels import RelativeBias, attend
from efficient_attn.patterns import Window

# Stands for log 0 in a bias: exp of it is 0 beside any score, and unlike minus infinity it has no NaN in its gradient.
_LOG_ZERO = -1e9


def span_mask(
    distance: Int[Array, "*#shape"] | Float[Array, "*#shape"], span: Float[Array, "*#shape"], ramp: float
) -> Float[Array, "*shape"]:
    """How much of a key at a distance is seen: 1 within the span, falling to 0 over ``ramp`` tokens beyond it.

    Args:
      distance: from query back to key, in tokens.
      span: ``z``, in tokens.
      ramp: ``R``, in tokens, above 0.

    Raises:
      ValueError: if ``ramp`` is not above 0.
    """
    if not ramp > 0:
        raise ValueError(f"ramp must be above 0, got {ramp}")
    return jnp.clip((ramp + span - distance) / ramp, 0, 1)


def adaptive_span_attention(
    query: Float[Array, "B T N H"],
    key: Float[Array, "B S K H"],
    value: Float[Array, "B S K Hv"],
    span: Float[Array, " N"] | Float[Array, "B T N"],
    *,
    limit: int,
    ramp: float = 32.0,
    position_keys: Float[Array, "H L"] | None = None,
    **options: Any,
) -> Float[Array, "B T N Hv"]:
    """Attention to at most ``limit`` earlier tokens, each head to as many as its span lets it.

    Args:
      query: queries.
      key: keys; longer than the queries where a memory of earlier segments comes first (then pass ``query_positions``).
      value: values.
      span: of each head, or of each token and head.
      limit: no key further back than this is seen. ``span_limit`` gives one that changes nothing.
      ramp: length of the soft edge in tokens.
      position_keys: ``p``, one column per distance, the first for distance 1; shared by the heads. At least ``limit`` columns.
      options: of ``attend``: positions, ``key_mask``, ``segment_ids``, dropout, ``implementation``.

    Returns:
      The result of each query; 0 where it sees nothing, as the first token does.

    Raises:
      ValueError: if ``limit`` is below 1, ``ramp`` not above 0, or a shape does not fit.

    Cost: O(B T N limit H) time; with dynamic spans or position keys O(B N T limit) memory, else O(N limit).
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    heads = query.shape[2]
    if span.shape not in ((heads,), (query.shape[0], query.shape[1], heads)):
        raise ValueError(f"span must be [{heads}] or [batch, tokens, {heads}], got shape {span.shape}")
    if position_keys is not None and position_keys.shape[1] < limit:
        raise ValueError(
            f"position_keys must have a column for each of {limit} distances, got {position_keys.shape[1]}"
        )
    bias = _log_mask(span, limit, ramp)
    if position_keys is not None:
        products = jnp.einsum("btnh,hl->bntl", query, position_keys[:, :limit]) * query.shape[3] ** -0.5
        bias = products.astype(jnp.float32) + (bias if bias.ndim == 4 else bias[:, None])
    earlier = Window(left=limit) & ~Window(left=0)
    output, lse = attend(query, key, value, earlier, bias=RelativeBias(bias, first=1), return_lse=True, **options)
    return jnp.where((lse > 0.5 * _LOG_ZERO)[..., None], output, jnp.zeros((), output.dtype))


def _log_mask(span: jax.Array, limit: int, ramp: float) -> jax.Array:
    """``log m`` at distances 1 to ``limit``: ``[N, limit]``, or ``[B, N, T, limit]`` for dynamic spans."""
    span = span.astype(jnp.float32)
    span = span if span.ndim == 1 else jnp.swapaxes(span, 1, 2)
    mask = span_mask(jnp.arange(1, limit + 1, dtype=jnp.float32), span[..., None], ramp)
    return jnp.where(mask > 0, jnp.log(jnp.where(mask > 0, mask, 1)), _LOG_ZERO)


def span_limit(spans: Float[Any, "..."], *, longest: int, ramp: float = 32.0, step: int = 64) -> int:
    """The furthest distance that any of these spans sees, rounded up so that few values occur (each is compiled once).

    Args:
      spans: of the heads of one layer, not traced.
      longest: the largest answer.
      ramp: length of the soft edge in tokens.
      step: answers are multiples of it, or ``longest``.

    Cost: a transfer of the spans from the device.
    """
    furthest = max(1, math.ceil(float(np.max(np.asarray(spans)))) + math.ceil(ramp))
    return min(longest, -(-furthest // step) * step)


def span_penalty(spans: Float[Array, "... N"], coefficient: float) -> Float[Array, ""]:
    """``lambda`` times the mean span over the heads of a layer, summed over the layers by the caller.

    Args:
      spans: in tokens, of one layer; of dynamic spans the mean over tokens is taken as well.
      coefficient: 2e-6 in the paper, 0.5e-6 for spans up to 8192.
    """
    return coefficient * jnp.mean(spans.astype(jnp.float32))
