"""The definition: dense attention in float32, by the equation, differentiated by JAX itself.

    o_i = sum_j p_ij v_j,   p_ij = exp(s_ij - L_i) over the pairs that may attend,   L_i = log sum_j exp(s_ij)

A query that may see no key gives 0 with ``L_i = -inf``. Time and memory O(T * S): an oracle for tests, not for work.
"""

import jax
import jax.numpy as jnp

from efficient_attn.kernels.problem import (
    Problem,
    Settings,
    Tile,
    tile_bias,
    tile_keep,
    tile_scores,
    tile_visible,
)


def attend_reference(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32."""
    whole = Tile(0, 0, problem.query.shape[1], problem.key.shape[1])
    query = jnp.einsum("btkgh->bkgth", problem.query.astype(jnp.float32))
    key, value = (jnp.swapaxes(x.astype(jnp.float32), 1, 2) for x in (problem.key, problem.value))
    with jax.default_matmul_precision("highest"):
        scores = tile_scores(settings, problem, whole, query, key, tile_bias(problem, whole))
        visible = jnp.broadcast_to(tile_visible(settings, problem, whole), scores.shape)
        # Two `where`s: the inner keeps hidden scores out of the value, the outer keeps empty rows out of the gradient.
        some = visible.any(-1, keepdims=True)
        lse = jax.nn.logsumexp(jnp.where(visible | ~some, scores, -jnp.inf), axis=-1, keepdims=True)
        weights = jnp.where(visible, jnp.exp(jnp.where(visible, scores - lse, 0.0)), 0.0)
        keep = tile_keep(settings, problem, whole)
        weights = weights if keep is None else weights * keep
        output = jnp.einsum("bkgts,bksh->btkgh", weights, value)
    return output.astype(problem.value.dtype), jnp.moveaxis(jnp.where(some, lse, -jnp.inf)[..., 0], 3, 1)
