"""The one way in which this library constrains how an array lies on the devices."""

import math

import jax
from jax.sharding import AxisType


def constrain(x: jax.Array, spec: jax.P | None) -> jax.Array:
    """Constrains ``x`` to ``spec`` on the current mesh: identity without a mesh, a reshard on an Explicit one.

    Args:
      x: any array.
      spec: mesh axes per dimension; ``None`` leaves ``x`` to the compiler.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if spec is None or mesh.empty:
        return x
    if all(kind == AxisType.Explicit for kind in mesh.axis_types):
        return jax.sharding.reshard(x, spec)
    return jax.lax.with_sharding_constraint(x, spec)


def fitting(spec: jax.P, shape: tuple[int, ...]) -> jax.P | None:
    """``spec`` where the current mesh has its axes, splits something along them, and they divide ``shape``; None otherwise."""
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    axes = [(axis,) if isinstance(axis, str) else (axis or ()) for axis in spec]
    if not all(axis in sizes for some in axes for axis in some):
        return None
    parts = [math.prod(sizes[axis] for axis in some) for some in axes]
    return spec if max(parts) > 1 and all(n % part == 0 for n, part in zip(shape, parts, strict=False)) else None


# How queries, keys and values of shape [B, T, N, H] lie on the trainer's mesh.
HEADS = jax.P("data", None, "model", None)


def on_mesh(spec: jax.P) -> jax.P | None:
    """``spec`` where the current mesh splits something along it; None without a mesh, or with one device along its axes."""
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    axes = [axis for axis in spec if axis is not None]
    return spec if all(axis in sizes for axis in axes) and any(sizes[axis] > 1 for axis in axes) else None
