"""The one way in which this library constrains how an array lies on the devices."""

import math

import jax
from jax.sharding import AxisType

# The mesh axes over which rows of a batch are dealt out: experts are spread over devices that have rows of their own.
ROWS = ("data", "expert")
# How queries, keys and values [B, T, N, H] lie on the mesh, and the residual stream [B, T, D].
HEADS, STREAM = jax.P(ROWS, "sequence", "model", None), jax.P(ROWS, "sequence")


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


def on_mesh(spec: jax.P) -> jax.P | None:
    """``spec`` without the axes along which the current mesh has one device or which it lacks; None where nothing is left."""
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    kept = [tuple(axis for axis in axes if sizes.get(axis, 1) > 1) for axes in map(names, spec)]
    return jax.P(*(axes or None for axes in kept)) if any(kept) else None


def fitting(spec: jax.P, shape: tuple[int, ...]) -> jax.P | None:
    """``on_mesh(spec)`` where its axes divide ``shape``; None otherwise."""
    found = on_mesh(spec)
    if found is None:
        return None
    sizes = jax.sharding.get_abstract_mesh().shape
    parts = [math.prod(sizes[axis] for axis in names(axes)) for axes in found]
    return found if all(n % part == 0 for n, part in zip(shape, parts, strict=False)) else None


def names(axes: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The mesh axes of one dimension of a spec."""
    return (axes,) if isinstance(axes, str) else axes or ()


def refuse_sharded_sequence(mechanism: str) -> None:
    """Raises for a mechanism whose tokens need more of the sequence than a device has, where the mesh shards it.

    Raises:
      NotImplementedError: with what to do.
    """
    devices = dict(jax.sharding.get_abstract_mesh().shape).get("sequence", 1)
    if devices > 1:
        raise NotImplementedError(
            f"{mechanism} needs whole sequences on every device, and the mesh shards them over {devices}: use sequence=1"
        )
