"""The weights of attention as an array, which no mechanism keeps: for looking at them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def weights_of(mix: Callable[[jax.Array], jax.Array], keys: Float[Array, "B S K H"]) -> Float[Array, "B N T S"]:
    """The weights ``P`` of an attention ``P V``, by values that are the rows of the identity: ``P I = P``.

    Args:
      mix: the attention, of values ``[B, S, K, S]`` alone: queries, keys, masks and bias are those that it has.
      keys: what it compares the queries with.

    Cost: O(B N T S) memory; time as of attention to values of size ``S``.
    """
    tokens = keys.shape[1]
    identity = jnp.broadcast_to(jnp.eye(tokens, dtype=keys.dtype)[None, :, None], (*keys.shape[:3], tokens))
    return jnp.moveaxis(mix(identity), 2, 1)
