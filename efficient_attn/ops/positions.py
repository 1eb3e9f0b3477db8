"""Position schemes that need no parameters, and the index arithmetic of those that do.

References:
  Vaswani et al., "Attention Is All You Need", 2017, section 3.5 (sinusoids: interleaved in the paper, in halves, sines and then
  cosines, in its released code).
  Child et al., 2019, section 5.3 (sums of tables indexed by row, column, channel).
  Su et al., "RoFormer", 2021, section 3.2.2 (rotary).
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, section 2.1
  (buckets of offsets).
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def sinusoids(positions: Int[Array, "*shape"], width: int) -> Float[Array, "*shape D"]:
    """Sines and cosines of each position at wavelengths from ``2 pi`` to ``10000 * 2 pi``.

    Args:
      positions: token positions.
      width: size of the result, even.

    Raises:
      ValueError: if ``width`` is odd.
    """
    if width % 2:
        raise ValueError(f"sinusoids need an even width, got {width}")
    half = width // 2
    rates = jnp.exp(-math.log(10_000.0) / max(half - 1, 1) * jnp.arange(half, dtype=jnp.float32))
    angles = positions[..., None].astype(jnp.float32) * rates.reshape((1,) * positions.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


def interleaved_sinusoids(positions: Int[Array, "*shape"], width: int) -> Float[Array, "*shape D"]:
    """Sine and cosine of each position in turn: features ``2i`` and ``2i + 1`` at wavelength ``10000^(2i / width) * 2 pi``.

    Args:
      positions: token positions.
      width: size of the result, even.

    Raises:
      ValueError: if ``width`` is odd.
    """
    if width % 2:
        raise ValueError(f"sinusoids need an even width, got {width}")
    rates = 10_000.0 ** (-jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = positions[..., None].astype(jnp.float32) * rates.reshape((1,) * positions.ndim + (-1,))
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*positions.shape, width)


def rotate(x: Float[Array, "B T N H"], positions: Int[Array, " T"], base: float = 10_000.0) -> Float[Array, "B T N H"]:
    """Rotates pairs of features by angles that grow with position, so that products depend on offsets only.

    Args:
      x: queries or keys; feature ``f`` is paired with ``f + H / 2``.
      positions: token positions.
      base: longest wavelength over ``2 pi``.

    Raises:
      ValueError: if the head size is odd.
    """
    size = x.shape[-1]
    if size % 2:
        raise ValueError(f"rotary positions need an even head size, got {size}")
    rates = base ** (-jnp.arange(size // 2, dtype=jnp.float32) / (size // 2))
    angles = (positions[:, None].astype(jnp.float32) * rates[None, :])[None, :, None, :]
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def mixed_radix(positions: Int[Array, "*shape"], sizes: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Each position as digits, the last one fastest: ``(row, column, channel)`` of a byte in an image."""
    digits = []
    for size in reversed(sizes[1:]):
        digits.append(positions % size)
        positions = positions // size
    return (positions, *reversed(digits))


def earlier_buckets(offsets: np.ndarray, buckets: int, longest: int) -> np.ndarray:
    """The bucket of each offset ``i - j`` between query ``i`` and key ``j``, where no key is later than its query.

    The first half of the buckets have one offset each; the others grow in proportion to the offset, and the last takes all
    from ``longest`` on. Later keys share the first bucket.

    Args:
      offsets: query position less key position, numpy, as in ``relative_buckets``.
      buckets: how many, even.
      longest: the offset from which on all are alike, above ``buckets / 2``.

    Raises:
      ValueError: if the buckets or the longest offset do not fit.
    """
    exact, rest = divmod(buckets, 2)
    if rest or not 0 < exact < longest:
        raise ValueError(
            f"buckets must be even, and longest above buckets / 2, got buckets={buckets}, longest={longest}"
        )
    return _growing(np.maximum(offsets, 0), exact, longest)


def relative_buckets(offsets: np.ndarray, buckets: int, longest: int) -> np.ndarray:
    """The bucket of each offset ``i - j`` between query ``i`` and key ``j``, in both directions.

    Half of the buckets are for later keys. Of each half, the first half has one offset each; the others grow in proportion
    to the offset, and the last takes all from ``longest`` on.

    Args:
      offsets: query position less key position, numpy: the logarithm of a device could round a boundary the other way.
      buckets: how many, a multiple of 4.
      longest: the offset from which on all are alike, above ``buckets / 4``.

    Raises:
      ValueError: if the buckets or the longest offset do not fit.
    """
    exact, rest = divmod(buckets, 4)
    if rest or not 0 < exact < longest:
        raise ValueError(
            f"buckets must be a multiple of 4, and longest above buckets / 4, got buckets={buckets}, longest={longest}"
        )
    return np.where(offsets < 0, 2 * exact, 0) + _growing(np.abs(offsets), exact, longest)


def _growing(distance: np.ndarray, exact: int, longest: int) -> np.ndarray:
    """Buckets of one direction: ``exact`` of one offset each, and as many that grow."""
    growth = np.log(np.maximum(distance, exact) / exact) / math.log(longest / exact)
    far = np.minimum(exact + (growth * exact).astype(np.int32), 2 * exact - 1)
    return np.where(distance < exact, distance, far)
