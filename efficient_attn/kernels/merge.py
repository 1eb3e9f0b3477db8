"""Attention over a union of key sets from attention over each: the results merged by their log-sum-exp."""

from collections.abc import Sequence

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
    lse = jnp.stack(lses)
    peak = jnp.max(lse, axis=0)
    seen = ~jnp.isneginf(peak)
    # Where nothing was seen, -inf is replaced before it meets arithmetic, or its gradient would be NaN.
    safe = jnp.where(jnp.isneginf(lse), 0.0, lse)
    weights = jnp.where(jnp.isneginf(lse), 0.0, jnp.exp(safe - jnp.where(seen, peak, 0.0)))
    total = jnp.where(seen, weights.sum(0), 1.0)
    output = sum(w[..., None] * o.astype(jnp.float32) for w, o in zip(weights, outputs, strict=True)) / total[..., None]
    merged = jnp.where(seen, jnp.where(seen, peak, 0.0) + jnp.log(total), -jnp.inf)
    return output.astype(outputs[0].dtype), merged
