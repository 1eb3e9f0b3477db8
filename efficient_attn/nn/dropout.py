"""Dropout of features."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def drop(x: Float[Array, "*batch F"], rate: float, key: jax.Array | None) -> Float[Array, "*batch F"]:
    """Dropout of features at ``rate``; the input itself without a key or at rate 0."""
    if key is None or rate == 0.0:
        return x
    keep = jax.random.bernoulli(key, 1.0 - rate, x.shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))
