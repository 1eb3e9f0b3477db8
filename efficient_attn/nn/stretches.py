"""A function of single tokens, computed a stretch of the text at a time, so that its inner results never exist together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.sharding import ROWS, constrain, fitting, sequence_devices


def over_stretches(f: Callable[..., jax.Array], stretch: int | None, *arrays: Any) -> jax.Array:
    """``f(*arrays)``, where row ``[:, t]`` of the result depends on row ``[:, t]`` of each array alone.

    Args:
      f: a function of arrays ``[B, T, ...]``, whose inner results the backward pass computes again.
      stretch: tokens at a time, of those that each device has; None: all, without recomputation.
      arrays: ``[B, T, ...]``; None stays None.

    Cost: the memory of ``f`` on ``stretch`` tokens; backward, one more forward.
    """
    tokens = next(x.shape[1] for x in arrays if x is not None)
    devices = sequence_devices(tokens)
    own = tokens // devices
    if stretch is None or own <= stretch:
        return f(*arrays)
    count = -(-own // stretch)

    # Were the whole text cut, a device would wait for the stretches that others have.
    def cut(x: jax.Array) -> jax.Array:
        rest = x.shape[2:]
        of_devices = x.reshape(x.shape[0], devices, own, *rest)
        padded = jnp.pad(of_devices, [(0, 0), (0, 0), (0, count * stretch - own)] + [(0, 0)] * len(rest))
        stretches = jnp.moveaxis(padded.reshape(x.shape[0], devices, count, stretch, *rest), 2, 0)
        return _lying(stretches.reshape(count, x.shape[0], devices * stretch, *rest))

    found = _lying(jax.lax.map(jax.checkpoint(lambda parts: f(*parts)), jax.tree.map(cut, arrays)))
    rows, rest = found.shape[1], found.shape[3:]
    of_devices = jnp.moveaxis(found.reshape(count, rows, devices, stretch, *rest), 0, 2)
    whole = of_devices.reshape(rows, devices, count * stretch, *rest)[:, :, :own]
    return whole.reshape(rows, tokens, *rest)


def _lying(stretches: jax.Array) -> jax.Array:
    """Stretches one after the other, ``[count, B, T, ...]``, each over the devices as the whole text is."""
    return constrain(stretches, fitting(jax.P(None, ROWS, "sequence"), stretches.shape))
