"""Which bucket a vector falls into: random rotations, and the corner that the rotated vector is nearest to.

    h(x) = argmax [x R; -x R]

References:
  Andoni et al., "Practical and Optimal LSH for Angular Distance", 2015.
  Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, section 2.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

# [K, H, rounds, buckets / 2]; several of them number buckets by digits, the first fastest.
Rotations = Float[Array, "_ _ _ _"] | tuple[Float[Array, "_ _ _ _"], ...]

# Rotated vectors are written down, so buckets are found for a stretch of tokens at a time: of 8 MiB, which a cache may hold.
_ROTATED = 2**21


def hash_vectors(vectors: Float[Array, "B T K H"], rotations: Rotations) -> Int[Array, "B T K rounds"]:
    """The bucket of each vector in each round: which of ``[x R; -x R]`` is largest.

    Args:
      vectors: of any length, which does not matter.
      rotations: normal numbers ``[K, H, rounds, buckets / 2]``; or a tuple of such, whose numbers of buckets multiply.

    Raises:
      ValueError: if the rotations are for other heads, sizes or rounds.

    Cost: O(B T K H * rounds * sum of buckets / 2); memory for 2 million numbers of rotated tokens at a time.
    """
    factors = _factors(rotations)
    for factor in factors:
        if factor.shape[:2] != vectors.shape[2:] or factor.shape[2] != factors[0].shape[2]:
            raise ValueError(
                f"rotations must be [{vectors.shape[2]}, {vectors.shape[3]}, rounds, buckets / 2], got shape {factor.shape}"
            )
    batch, tokens, heads, _ = vectors.shape
    most = _ROTATED // (batch * heads * max(factor.shape[2] * factor.shape[3] for factor in factors))
    stretch = 1 << max(most, 1).bit_length() - 1
    if tokens <= stretch:
        return _hash(vectors, factors)
    padded = jnp.pad(vectors, ((0, 0), (0, -tokens % stretch), (0, 0), (0, 0)))
    stretches = jnp.moveaxis(padded.reshape(batch, -1, stretch, *vectors.shape[2:]), 1, 0)
    found = jnp.moveaxis(jax.lax.map(lambda x: _hash(x, factors), stretches), 0, 1)
    return found.reshape(batch, -1, *found.shape[3:])[:, :tokens]


def count_buckets(rotations: Rotations) -> int:
    """The number of buckets of ``hash_vectors``."""
    return math.prod(2 * factor.shape[3] for factor in _factors(rotations))


def _factors(rotations: Rotations) -> tuple[jax.Array, ...]:
    return rotations if isinstance(rotations, tuple) else (rotations,)


def _hash(vectors: jax.Array, factors: tuple[jax.Array, ...]) -> jax.Array:
    found, step = jnp.zeros((), jnp.int32), 1
    for factor in factors:
        turned = jnp.einsum("btkh,khrc->bkrct", vectors, factor.astype(vectors.dtype))
        found, step = found + step * _first_greatest(turned), step * 2 * factor.shape[3]
    return jnp.moveaxis(found, 3, 1)


def _first_greatest(x: Float[Array, "*before c T"]) -> Int[Array, "*before T"]:
    """``argmax`` of ``[x, -x]`` along ``c``.

    A maximum and a minimum along an outer axis, which a CPU does for many tokens at once.
    """
    count = x.shape[-2]
    greatest, index = jnp.abs(x).max(-2, keepdims=True), jnp.arange(count, dtype=jnp.int32)[:, None]
    return jnp.where(x == greatest, index, jnp.where(x == -greatest, index + count, 2 * count - 1)).min(-2)


def draw_rotations(
    key: jax.Array, heads: int, size: int, rounds: int, factors: tuple[int, ...]
) -> tuple[Float[Array, "K H rounds _"], ...]:
    """Normal numbers for ``hash_vectors``, one array for each factor of the number of buckets."""
    keys = jax.random.split(key, len(factors))
    return tuple(jax.random.normal(k, (heads, size, rounds, f // 2)) for k, f in zip(keys, factors, strict=True))


def bucket_factors(tokens: int, chunk: int, most: int) -> tuple[int, ...]:
    """The number of buckets for a length, as Hugging Face chooses it: a power of two with half a chunk to a bucket.

    Args:
      tokens: length of the text.
      chunk: tokens per chunk.
      most: buckets above which they are numbered by two digits, so that hashing costs their sum and not their product.

    Returns:
      One even number, or the two whose product it is.
    """
    power = max(2 * (tokens // chunk), 2).bit_length() - 1
    if 2**power <= most:
        return (2**power,)
    return (2 ** (power // 2), 2 ** (power - power // 2))
