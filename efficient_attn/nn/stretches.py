"""A function of single tokens, computed a stretch of the text at a time, so that its inner results never exist together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def over_stretches(f: Callable[..., jax.Array], stretch: int | None, *arrays: Any) -> jax.Array:
    """``f(*arrays)``, where row ``[:, t]`` of the result depends on row ``[:, t]`` of each array alone.

    Args:
      f: a function of arrays ``[B, T, ...]``, whose inner results the backward pass computes again.
      stretch: tokens at a time; None: all, without recomputation.
      arrays: ``[B, T, ...]``; None stays None.

    Cost: the memory of ``f`` on ``stretch`` tokens; backward, one more forward.
    """
    tokens = next(x.shape[1] for x in arrays if x is not None)
    if stretch is None or tokens <= stretch:
        return f(*arrays)
    count = -(-tokens // stretch)

    def cut(x: jax.Array) -> jax.Array:
        padded = jnp.pad(x, [(0, 0), (0, count * stretch - tokens)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(padded.reshape(x.shape[0], count, stretch, *x.shape[2:]), 1, 0)

    found = jax.lax.map(jax.checkpoint(lambda parts: f(*parts)), jax.tree.map(cut, arrays))
    return jnp.moveaxis(found, 0, 1).reshape(found.shape[1], count * stretch, *found.shape[3:])[:, :tokens]
