"""The one way in which this library constrains how an array lies on the devices."""

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


# How queries, keys and values of shape [B, T, N, H] lie on the trainer's mesh.
HEADS = jax.P("data", None, "model", None)


def on_mesh(spec: jax.P) -> jax.P | None:
    """``spec`` where the current mesh splits something along it; None without a mesh, or with one device along its axes."""
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    axes = [axis for axis in spec if axis is not None]
    return spec if all(axis in sizes for axis in axes) and any(sizes[axis] > 1 for axis in axes) else None
