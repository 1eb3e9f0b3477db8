"""The arrays of a TPU kernel: their layout in memory, and which block of each a step of the grid needs."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from jax.experimental import pallas as pl

from efficient_attn.kernels.problem import Settings

# Axes of every array, by name. One number for each query or key lies along the lanes, as [.., 1, T]: standing upright it would be
# padded to 128 numbers. Axes of a size of 1 are shared: all batch rows, heads, queries or keys read the same.
LAYOUTS: Mapping[str, tuple[str, ...]] = {
    "query": ("batch", "head", "rows", "whole"),
    "output": ("batch", "head", "rows", "whole"),
    "d_query": ("batch", "head", "rows", "whole"),
    "d_output": ("batch", "head", "rows", "whole"),
    "key": ("batch", "head", "columns", "whole"),
    "value": ("batch", "head", "columns", "whole"),
    "d_key": ("batch", "head", "columns", "whole"),
    "d_value": ("batch", "head", "columns", "whole"),
    "lse": ("batch", "head", "whole", "rows"),
    "d_lse": ("batch", "head", "whole", "rows"),
    "centre": ("batch", "head", "whole", "rows"),
    "key_mask": ("batch", "whole", "columns"),
    "query_segments": ("batch", "whole", "rows"),
    "key_segments": ("batch", "whole", "columns"),
    "bias": ("batch", "head", "rows", "columns"),
    "row_bias": ("batch", "head", "whole", "rows"),
    "column_bias": ("batch", "head", "whole", "columns"),
    "d_bias": ("batch", "head", "rows", "columns"),
    "d_row_bias": ("batch", "head", "whole", "rows"),
    "d_column_bias": ("batch", "head", "whole", "columns"),
    "bits": ("tile", "whole", "whole"),
}

Operands = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is known of a problem before tracing, in the kernels' layout."""

    settings: Settings
    heads: int
    groups: int
    """Query heads that share a key head."""
    q_len: int
    k_len: int
    block: int
    """Queries, and keys, of a block."""

    @property
    def rows(self) -> int:
        """Queries, padded to whole blocks."""
        return -(-self.q_len // self.block) * self.block

    @property
    def columns(self) -> int:
        """Keys, padded to whole blocks."""
        return -(-self.k_len // self.block) * self.block


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a step of the grid works: batch row, query head, block of queries, block of keys, bitmap. Traced scalars."""

    batch: Any
    head: Any
    row: Any
    column: Any
    tile: Any


def block_spec(shape: Shape, name: str, x: Any, place: Callable[..., Place]) -> pl.BlockSpec:
    """The block of array ``name`` that a step needs; ``place`` finds the step from what its index map is given."""
    axes = LAYOUTS[name]
    block_sizes = {"batch": None, "head": None, "tile": None, "rows": shape.block, "columns": shape.block}
    block = tuple(block_sizes.get(axis, size) for axis, size in zip(axes, x.shape, strict=True))

    def index_map(*step):
        at = place(*step)
        return tuple(_index(shape, at, axis, size) for axis, size in zip(axes, x.shape, strict=True))

    return pl.BlockSpec(block, index_map)


def _index(shape: Shape, place: Place, axis: str, size: int) -> Any:
    """Which block of an axis; a size of 1 is shared, and fewer heads than there are query heads are shared by groups."""
    if axis == "whole" or (axis != "tile" and size == 1):
        return 0
    if axis == "head":
        return place.head if size == shape.heads else place.head // (shape.heads // size)
    return {"batch": place.batch, "rows": place.row, "columns": place.column, "tile": place.tile}[axis]


def block_specs(shape: Shape, arrays: Operands, place: Callable[..., Place]) -> dict[str, pl.BlockSpec]:
    """The same for each of ``arrays``."""
    return {name: block_spec(shape, name, x, place) for name, x in arrays.items()}
