"""Attention dropout without a stored mask: each decision is a hash of where it is taken.

The bit for batch row b, head n, query slot i and key slot j depends on nothing but the seed and these four numbers, so every
implementation, block size and sharding drops the same weights, and the backward pass recomputes them.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt32

# 2^32 over the golden ratio: consecutive slots become well separated inputs of the mixer.
_SPREAD = 0x9E3779B9


def _mix(x: jax.Array) -> jax.Array:
    """A bijection of 32-bit words with low bias (the constants are Chris Wellons' "lowbias32", in the public domain)."""
    x = x ^ (x >> 16)
    x = x * jnp.uint32(0x7FEB352D)
    x = x ^ (x >> 15)
    x = x * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def seed_of(key: jax.Array) -> UInt32[Array, ""]:
    """A 32-bit seed drawn from a PRNG key, typed or raw."""
    return jax.random.bits(key, (), jnp.uint32)


def keep(
    seed: UInt32[Array, ""],
    batch: Int[Array, "*#shape"],
    head: Int[Array, "*#shape"],
    query_slot: Int[Array, "*#shape"],
    key_slot: Int[Array, "*#shape"],
    rate: float,
) -> Bool[Array, "*shape"]:
    """Which attention weights survive dropout at ``rate``; the four indices broadcast against one another."""
    words = [jnp.asarray(x).astype(jnp.uint32) for x in (batch, head, query_slot, key_slot)]
    state = seed
    for word in words:
        state = _mix(state ^ (word * jnp.uint32(_SPREAD)))
    return state >= jnp.uint32(min(int(rate * 2**32), 2**32 - 1))


def factors(
    seed: UInt32[Array, ""],
    batch: Int[Array, "*#shape"],
    head: Int[Array, "*#shape"],
    query_slot: Int[Array, "*#shape"],
    key_slot: Int[Array, "*#shape"],
    rate: float,
) -> Float[Array, "*shape"]:
    """What attention weights are multiplied by: ``1 / (1 - rate)`` where they are kept, 0 where not."""
    kept = keep(seed, batch, head, query_slot, key_slot, rate)
    return jnp.where(kept, jnp.float32(1.0 / (1.0 - rate)), jnp.float32(0.0))
