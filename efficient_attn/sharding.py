"""How arrays lie on the devices: the one way in which this library constrains it, and the exchange of tokens for heads.

Reference:
  Jacobs et al., "DeepSpeed Ulysses: System Optimizations for Enabling Training of Extreme Long Sequence Transformer Models", 2023
  (the exchange).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

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


def over_heads(
    function: Callable[..., jax.Array], *arrays: jax.Array, rows: Sequence[jax.Array] = (), weights: Sequence[Any] = ()
) -> jax.Array:
    """``function(*arrays, *rows, *weights)`` on each device's own batch rows and heads, of which none has to do with another.

    Where the mesh shards the sequence, a device gives away its tokens of most heads for all tokens of a few, and gets its own
    tokens of the result back: all-to-all there and back.

    Args:
      function: gives ``[B, T, N, ...]``.
      arrays: ``[B, T, N, ...]``.
      rows: ``[B, T]``, which each device has whole of its batch rows.
      weights: trees of ``[N, ...]``.

    Raises:
      ValueError: if heads or tokens do not divide among the devices.

    Cost: what ``function`` takes of its share of the heads; each array crosses the links once in each direction.
    """
    own = on_mesh(HEADS)
    if own is None:
        return function(*arrays, *rows, *weights)
    batch, sequence, heads, _ = own
    for x in arrays:
        check_over_heads(x.shape)
    to_heads = functools.partial(jax.lax.all_to_all, axis_name=sequence, split_axis=2, concat_axis=1, tiled=True)
    to_tokens = functools.partial(jax.lax.all_to_all, axis_name=sequence, split_axis=1, concat_axis=2, tiled=True)

    def exchanged(*given: Any) -> jax.Array:
        whole = map(to_heads, given[: len(arrays)])
        return to_tokens(function(*whole, *given[len(arrays) :]))

    spread = jax.P((*names(heads), *names(sequence)) or None)
    specs = (*(own for _ in arrays), *(jax.P(batch) for _ in rows), *(spread for _ in weights))
    run = exchanged if sequence else function
    return jax.shard_map(run, in_specs=specs, out_specs=own, check_vma=False)(*arrays, *rows, *weights)


def check_over_heads(shape: tuple[int, ...]) -> None:
    """Raises where the current mesh cannot deal out an array ``[B, T, N, ...]`` by tokens, and then by heads.

    Raises:
      ValueError: with the numbers that do not divide.
    """
    sizes = dict(jax.sharding.get_abstract_mesh().shape)
    model, sequence = sizes.get("model", 1), sizes.get("sequence", 1)
    if shape[1] % sequence:
        raise ValueError(f"{shape[1]} tokens do not divide among {sequence} devices of mesh axis sequence")
    if shape[2] % (model * sequence):
        raise ValueError(
            f"{shape[2]} heads, each with the whole sequence, do not divide among {model} * {sequence} devices of mesh axes "
            "model and sequence"
        )


def sequence_devices(tokens: int) -> int:
    """Devices over which the current mesh shards this many tokens; 1 where they do not divide."""
    devices = dict(jax.sharding.get_abstract_mesh().shape).get("sequence", 1)
    return devices if tokens % devices == 0 else 1


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
