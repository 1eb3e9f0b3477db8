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
