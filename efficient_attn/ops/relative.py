"""Transformer-XL's relative positions as plain dot products, so that any pattern and kernel can have them.

    s_ij = ((q_i + u) . k_j + (q_i + v) . W r_{i-j}) / sqrt(H),    r_t = (sin w t, cos w t)

The angle of a difference is a difference of angles: with ``(a, b) = W^T (q_i + v)`` in the halves of sines and cosines,

    (q_i + v) . W r_{i-j} = (a sin w i + b cos w i) . cos w j + (b sin w i - a cos w i) . sin w j

so that every query is followed by ``D`` more features, and every key by the ``D`` sines and cosines of its position. No number is
kept for each pair or each offset, where the usual shift of a table of offsets keeps one for each query and offset.

References:
  Dai et al., "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context", 2019, section 3.3 and released code.
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020, section 4.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# Positions are turned in two steps, of so many tokens and of one: the large angles are reduced on the host, in double precision.
_STEP = 256


def angles(positions: Int[Array, " T"], width: int) -> tuple[Float[Array, "T half"], Float[Array, "T half"]]:
    """Sines and cosines of positions at ``width / 2`` frequencies, from 1 down to nearly 1 / 10000.

    Args:
      positions: of tokens; below 2^20 the angle is right to 2e-3, below 2^15 to 1e-4.
      width: features of both together, even.

    Raises:
      ValueError: if ``width`` is odd.
    """
    if width % 2:
        raise ValueError(f"sines and cosines need an even width, got {width}")
    rates = 10_000.0 ** (-np.arange(0, width, 2) / width)
    coarse = np.asarray(np.remainder(_STEP * rates, 2 * np.pi), np.float32)
    many, few = (x[:, None].astype(jnp.float32) for x in (positions // _STEP, positions % _STEP))
    whole = many * coarse + few * rates.astype(np.float32)
    return jnp.sin(whole), jnp.cos(whole)


def position_features(
    query: Float[Array, "B T N H"], projection: Float[Array, "D N H"], positions: Int[Array, " T"]
) -> Float[Array, "B T N D"]:
    """What follows a query.

    Args:
      query: ``q + v``.
      projection: ``W``, from sines and then cosines to heads.
      positions: of the queries.

    Cost: O(B T N H D) time.
    """
    sine, cosine = (x[:, None] for x in angles(positions, projection.shape[0]))
    a, b = jnp.split(jnp.einsum("btnh,dnh->btnd", query, projection), 2, axis=-1)
    return jnp.concatenate([a * sine + b * cosine, b * sine - a * cosine], axis=-1)


def key_features(positions: Int[Array, " S"], width: int) -> Float[Array, "S D"]:
    """What follows a key, the same for all heads: the cosines of its position, then the sines."""
    sine, cosine = angles(positions, width)
    return jnp.concatenate([cosine, sine], axis=-1)
