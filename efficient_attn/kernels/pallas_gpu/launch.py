"""A kernel on its grid: one program for each line of blocks, batch row and head."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from efficient_attn.kernels.pallas_gpu.operands import Operands, Place, Shape, block_spec
from efficient_attn.kernels.pallas_gpu.tile import Tile, scalar
from efficient_attn.kernels.pallas_gpu.work import work_of
from efficient_attn.kernels.pallas_parts import cost


@dataclasses.dataclass(frozen=True)
class Kernel:
    """What runs for each line."""

    body: Callable[["Step"], None]
    shape: Shape
    by_key: bool
    """Lines are columns of keys, whose program works for all query heads of their key head; else rows of one query head."""
    outputs: dict[str, jax.ShapeDtypeStruct]
    products: tuple[int, int]
    """Matrix products of a block with the size of a query head, and with that of a value head."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One program of the grid."""

    shape: Shape
    by_key: bool
    line: Any
    batch: Any
    key_head: Any
    group: Any
    refs: Operands
    groups: int

    def tile(self, along: Any, bitmap: Any = None, group: Any = None) -> Tile:
        """The tile at a place along the line; of a query head of the group, where the program has them all."""
        row, column = (along, self.line) if self.by_key else (self.line, along)
        place = Place(row, column, group, bitmap)
        return Tile(
            self.shape, place, self.refs, int(self.by_key), self._numbers(self.group if group is None else group)
        )

    def _numbers(self, group: Any) -> tuple[Any, Any, Any] | None:
        if "numbers" not in self.refs:
            return None
        numbers = self.refs["numbers"]
        batch = scalar(numbers, 1 + self.batch)
        heads = numbers.shape[0] - self._heads()
        head = scalar(numbers, heads + self.key_head * self.groups + group)
        return scalar(numbers, 0).astype(jnp.uint32), batch, head

    def _heads(self) -> int:
        return pl.num_programs(2) * self.groups if self.by_key else pl.num_programs(2) * pl.num_programs(3)

    def store(self, name: str, x: jax.Array) -> None:
        """Writes the line's part of an output."""
        ref = self.refs[name]
        triton.store(Place(self.line, self.line).part(name, ref, self.shape.block), x.astype(ref.dtype))


def run(kernel: Kernel, operands: Operands, numbers: jax.Array | None) -> dict[str, jax.Array]:
    """The outputs, by name. ``numbers``: seed, numbers of batch rows and numbers of heads, int32; None without dropout."""
    shape = kernel.shape
    work = work_of(shape.settings.pattern, shape.q_len, shape.k_len, shape.block, kernel.by_key)
    batch, _, key_heads, groups, _ = operands["query"].shape
    given = {name: jnp.asarray(x) for name, x in work.arrays().items()} | (
        {} if numbers is None else {"numbers": numbers}
    )
    arrays = given | dict(operands)
    whole = lambda x: pl.BlockSpec(x.shape, functools.partial(_origin, x.ndim))  # noqa: E731
    specs = {n: whole(x) if n in given else block_spec(n, x, kernel.by_key) for n, x in arrays.items()}

    def body(*refs):
        named = dict(zip([*arrays, *kernel.outputs], refs, strict=True))
        line = scalar(named["lines"], pl.program_id(0))
        group = None if kernel.by_key else pl.program_id(3)
        kernel.body(Step(shape, kernel.by_key, line, pl.program_id(1), pl.program_id(2), group, named, groups))

    found = pl.pallas_call(
        body,
        grid=(len(work.lines), batch, key_heads) + (() if kernel.by_key else (groups,)),
        in_specs=list(specs.values()),
        out_specs=[block_spec(name, x, kernel.by_key) for name, x in kernel.outputs.items()],
        out_shape=list(kernel.outputs.values()),
        compiler_params=triton.CompilerParams(num_warps=shape.warps, num_stages=shape.stages),
        cost_estimate=cost(
            work.live * batch * key_heads * groups, shape.block, kernel.products, operands, kernel.outputs
        ),
        name=kernel.body.__name__,
    )(*arrays.values())
    return dict(zip(kernel.outputs, found, strict=True))


def _origin(axes: int, *_: Any) -> tuple[int, ...]:
    return (0,) * axes
