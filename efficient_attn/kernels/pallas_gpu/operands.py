"""The arrays of a GPU kernel, as they lie in memory: nothing is transposed or copied for it but ragged ends."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from efficient_attn.kernels.problem import Settings

# Axes of every array, by name. Axes of a size of 1 are shared: all batch rows, heads, queries or keys read the same.
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "query": ("batch", "rows", "key_head", "group", "whole"),
    "output": ("batch", "rows", "key_head", "group", "whole"),
    "d_output": ("batch", "rows", "key_head", "group", "whole"),
    "d_query": ("batch", "rows", "key_head", "group", "whole"),
    "key": ("batch", "columns", "key_head", "whole"),
    "value": ("batch", "columns", "key_head", "whole"),
    "d_key": ("batch", "columns", "key_head", "whole"),
    "d_value": ("batch", "columns", "key_head", "whole"),
    "lse": ("batch", "key_head", "group", "rows"),
    "centre": ("batch", "key_head", "group", "rows"),
    "key_mask": ("batch", "columns"),
    "query_segments": ("batch", "rows"),
    "key_segments": ("batch", "columns"),
    "bias": ("batch", "key_head", "group", "rows", "columns"),
}

Operands = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is known of a problem before tracing."""

    settings: Settings
    q_len: int
    k_len: int
    block: int
    """Queries, and keys, of a block."""
    warps: int
    """Of 32 threads, which share a block."""
    stages: int = 2
    """Blocks that are loaded ahead."""


def pad(name: str, x: jax.Array, block: int) -> jax.Array:
    """Whole blocks along rows and columns, and a power of two of features, which is what Triton takes."""
    blocks = lambda n: n if n == 1 and name == "bias" else -(-n // block) * block  # noqa: E731
    wanted = {"rows": blocks, "columns": blocks, "whole": lambda n: max(16, 1 << (n - 1).bit_length())}
    widths = [(0, wanted.get(axis, lambda n: n)(n) - n) for axis, n in _axes(name, x)]
    return jnp.pad(x, widths) if any(more for _, more in widths) else x


def _axes(name: str, x: Any) -> list[tuple[str, int]]:
    return list(zip(LAYOUTS[name], x.shape, strict=True))


def block_spec(name: str, x: Any, grouped: bool) -> pl.BlockSpec:
    """What a program of the grid sees of an array: all tokens of its batch row and key head.

    Args:
      name: of the array.
      x: the array, or its shape and type.
      grouped: whether a program works for one key head and all its query heads, or for one query head.
    """
    squeezed = ("batch", "key_head") if grouped else ("batch", "key_head", "group")
    axes = _axes(name, x)
    sizes = tuple(None if axis in squeezed else size for axis, size in axes)

    def index_map(line, batch, key_head, group=0):
        found = {"batch": batch, "key_head": key_head, "group": group}
        return tuple(found[axis] if axis in squeezed and size > 1 else 0 for axis, size in axes)

    return pl.BlockSpec(sizes, index_map)


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a kernel works: traced block indices, and the query head within its group where the program has them all."""

    row: Any
    column: Any
    group: Any = None
    tile: Any = None

    def part(self, name: str, ref: Any, block: int) -> Any:
        """The place's part of an array, to load or store."""
        starts = {"rows": self.row, "columns": self.column}
        axes = [a for a in LAYOUTS[name] if a not in ("batch", "key_head") and (a != "group" or self.group is not None)]
        index = []
        for axis, size in zip(axes, ref.shape, strict=True):
            if axis == "whole":
                index.append(slice(None))
            elif axis == "group":
                index.append(jnp.asarray(self.group if size > 1 else 0, jnp.int32))
            else:
                index.append(pl.ds(starts[axis] * block, block) if size > 1 else pl.ds(0, 1))
        return ref.at[tuple(index)]
