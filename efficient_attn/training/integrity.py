"""Is what came back from storage what was saved? Shapes before reading, a sum over the bits of every tensor after."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, UInt32

PyTree = Any


def paths(tree: PyTree) -> list[str]:
    """Returns the path of every tensor, such as ``decoder/mlp/kernel``, in tree order."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in leaves]


@jax.jit
def checksum(tree: PyTree) -> UInt32[Array, " tensors"]:
    """Returns the sum of each tensor's bit patterns modulo 2**32: exact, so no sharding changes it.

    Cost: one pass over the tree, on its devices.
    """
    sums = [jnp.sum(_bits(x), dtype=jnp.uint32) for x in jax.tree.leaves(tree)]
    return jnp.stack(sums) if sums else jnp.zeros((0,), jnp.uint32)


def check_shapes(saved: Mapping[str, PyTree], wanted: Mapping[str, PyTree]) -> None:
    """Raises a ValueError that names the first tensor of ``wanted`` that was not saved in its shape and type.

    A tensor that was saved and is not wanted is as bad, but for items that were not asked for when only one was.
    """
    have, want = _shapes(saved if len(wanted) > 1 else {name: saved[name] for name in wanted}), _shapes(wanted)
    for path in sorted(want.keys() | have.keys()):
        if have.get(path) != want.get(path):
            raise ValueError(
                f"{path} is {have.get(path, 'absent')} in the checkpoint and {want.get(path, 'absent')} in this run"
            )


def check_sums(loaded: Mapping[str, PyTree], sums: Mapping[str, Array]) -> None:
    """Raises a ValueError that names the first tensor of ``loaded`` whose bits are not those that were summed."""
    for name, tree in loaded.items():
        differ = np.flatnonzero(np.asarray(checksum(tree)) != np.asarray(sums[name]))
        if differ.size:
            raise ValueError(f"the bits of {name}/{paths(tree)[differ[0]]} are not those that were saved")


def _bits(x: Array) -> Array:
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    return jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}")).astype(jnp.uint32)


def _shapes(items: Mapping[str, PyTree]) -> dict[str, str]:
    """Returns ``float32(3, 4)`` for every path of every item."""
    return {
        f"{name}/{path}".rstrip("/"): f"{jnp.dtype(leaf.dtype).name}{tuple(leaf.shape)}"
        for name, tree in items.items()
        for path, leaf in zip(paths(tree), jax.tree.leaves(tree), strict=True)
    }
