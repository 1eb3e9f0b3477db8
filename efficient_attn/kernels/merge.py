"""Attention over a union of key sets from attention over each: the results merged by their log-sum-exp."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def merge(
    parts: Sequence[tuple[Float[Array, "B T N Hv"], Float[Array, "B T N"]]],
) -> tuple[Float[Array, "B T N Hv"], Float[Array, "B T N"]]:
    """Merges attention results of the same queries over different keys.

        o = sum_a w_a o_a,   w_a = exp(L_a - L),   L = log sum_a exp(L_a)

    Args:
      parts: outputs and log-sum-exps, as ``attend(..., return_lse=True)`` gives them. Keys that occur in two parts count twice.

    Returns:
      The output and log-sum-exp over all parts' keys, differentiable in both. A query that sees no key in any part gives 0
      and minus infinity.

    Raises:
      ValueError: if there are no parts.

    Cost: O(parts * B * T * N * Hv).
    """
    if not parts:
        raise ValueError("merge needs at least one (output, log-sum-exp) pair, got none")
    outputs, lses = zip(*parts, strict=True)
    return _merge(outputs, lses)


def merge_grouped(results: Sequence[tuple[jax.Array, jax.Array]]) -> tuple[jax.Array, jax.Array]:
    """``merge`` for heads in groups: outputs ``[B, T, K, G, Hv]`` and log-sum-exps ``[B, T, K, G]``."""
    if len(results) == 1:
        return results[0]
    shape = results[0][1].shape
    flat = [(o.reshape(*shape[:2], -1, o.shape[-1]), lse.reshape(*shape[:2], -1)) for o, lse in results]
    output, lse = merge(flat)
    return output.reshape(*shape, output.shape[-1]), lse.reshape(shape)


@jax.custom_vjp
def _merge(outputs: tuple[jax.Array, ...], lses: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
    return _merge_forward(outputs, lses)[0]


def _merge_forward(outputs, lses):
    lse = functools.reduce(jnp.logaddexp, lses)
    # Where nothing was seen, -inf is replaced before it meets arithmetic, or differences would be NaN.
    whole = jnp.where(jnp.isneginf(lse), 0.0, lse)
    weights = tuple(jnp.exp(part - whole) for part in lses)
    output = sum(w[..., None] * o.astype(jnp.float32) for w, o in zip(weights, outputs, strict=True))
    output = output.astype(outputs[0].dtype)
    return (output, lse), (weights, outputs)


def _merge_backward(saved, cotangents):
    """``do_a = w_a do``,  ``dL_a = w_a (do . o_a - sum_b w_b do . o_b + dL)``: the merged output need not be kept."""
    weights, outputs = saved
    d_output, d_lse = cotangents
    slope = d_output.astype(jnp.float32)
    products = [(o.astype(jnp.float32) * slope).sum(-1) for o in outputs]
    centre = sum(w * p for w, p in zip(weights, products, strict=True)) - d_lse
    d_outputs = tuple((w[..., None] * slope).astype(o.dtype) for w, o in zip(weights, outputs, strict=True))
    return d_outputs, tuple(w * (p - centre) for w, p in zip(weights, products, strict=True))


_merge.defvjp(_merge_forward, _merge_backward)
