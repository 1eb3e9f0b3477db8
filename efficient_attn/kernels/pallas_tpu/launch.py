"""Runs a kernel body over the work of every distinct pattern, into one set of outputs.

A body is called once for each step of the grid ``(batch rows, heads, live blocks)``, with blocks of its operands in vector
memory. Several launches (one for each distinct pattern, and for each group of a long list) write into the same arrays, each
its own heads and lines, so that nothing has to be put together afterwards.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from efficient_attn.kernels.pallas_tpu.operands import Operands, Place, Shape, block_specs
from efficient_attn.kernels.pallas_tpu.tile import Tile
from efficient_attn.kernels.pallas_tpu.work import FULL, PARTIAL, Launch, Word

@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel body and what it runs over."""

    body: Callable[["Step"], None]
    shape: Shape
    by_key: bool
    """Whether lines are columns of keys, visited by all rows and by all heads of a group, or rows of queries."""
    scratch: Mapping[str, tuple[int, ...]]
    """Float32 arrays in vector memory that live through a line."""
    outputs: Mapping[str, jax.ShapeDtypeStruct]
    """The results by name."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the grid, as a body sees it."""

    tile: Tile
    word: Word
    outputs: Mapping[str, Any]
    scratch: Mapping[str, Any]
    numbers: Any
    first: Any
    last: Any

    def visit(self, update: Callable[[jax.Array | None], None]) -> None:
        """Calls ``update`` with the pairs that are visible: full and partial blocks are compiled apart."""
        pl.when(self.word.kind == FULL)(lambda: update(self.tile.visible_by_arrays()))
        pl.when(self.word.kind == PARTIAL)(lambda: update(self.tile.visible()))


def run(kernel: Kernel, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands) -> dict[str, jax.Array]:
    """All launches.

    Args:
      kernel: what to run.
      work: the launches, from ``work.launches`` by query or by key as the kernel wants.
      numbers: int32 numbers for dropout, see ``Tile.keep``.
      operands: arrays by name, padded to whole blocks.
    """
    if len(work) == 1 and len(work[0].words) == 1:
        return _launch(kernel, work[0], numbers, operands, {}, (work[0].words[0], work[0].tiles[0]))
    buffers = {name: jax.lax.empty(x.shape, x.dtype) for name, x in kernel.outputs.items()}
    for launch in work:
        call = functools.partial(_launch, kernel, launch, numbers, operands)
        if len(launch.words) == 1:
            buffers = call(buffers, (launch.words[0], launch.tiles[0]))
        else:
            step = lambda buffers, lists, call=call: (call(buffers, lists), None)  # noqa: E731
            buffers, _ = jax.lax.scan(step, buffers, (launch.words, launch.tiles))
    return buffers


def _launch(
    kernel: Kernel,
    launch: Launch,
    numbers: jax.Array,
    operands: Operands,
    buffers: Mapping[str, jax.Array],
    lists: tuple[Any, Any],
) -> dict[str, jax.Array]:
    """One group of one launch: its ``lists`` are words and bitmap numbers, its results take the place of ``buffers``."""
    (words, tiles), outputs = lists, kernel.outputs
    shape = kernel.shape
    if launch.bits is not None:
        operands = {**operands, "bits": launch.bits}
    shared = shape.heads // outputs["d_key"].shape[1] if kernel.by_key else 1
    place = functools.partial(_place, kernel.by_key, shared)
    grid = (operands["query"].shape[0], len(launch.heads) // shared, words.shape[0])
    if kernel.by_key:
        grid = (*grid, shared)
    scalars = (words, np.asarray(launch.heads, np.int32), tiles, numbers)
    out_specs = block_specs(shape, outputs, place)
    anywhere = {name: pl.BlockSpec(memory_space=pl.ANY) for name in buffers}
    first_buffer = len(scalars) + len(operands)
    call = pl.pallas_call(
        functools.partial(_kernel, kernel, launch.pattern, place),
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=len(scalars),
            grid=grid,
            in_specs=[block_specs(shape, operands, place), anywhere],
            out_specs=out_specs,
            scratch_shapes=[{name: pltpu.VMEM(size, jnp.float32) for name, size in kernel.scratch.items()}],
        ),
        out_shape=dict(outputs),
        input_output_aliases={first_buffer + n: n for n in range(len(buffers))},
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", *["arbitrary"] * (len(grid) - 2))
        ),
        name=kernel.body.__name__,
    )
    return call(*scalars, operands, dict(buffers))


def _place(by_key: bool, shared: int, batch, head, step, *rest) -> Place:
    """Where a step works, from the indices of the grid and the lists in scalar memory."""
    member, (words, heads, tiles, _) = (rest[0], rest[1:]) if by_key else (0, rest)
    word = Word(words[step])
    row, column = (word.along, word.line) if by_key else (word.line, word.along)
    # A pattern without bitmaps has a list of one, which nothing reads.
    tile = tiles[step] if tiles.shape == words.shape else 0
    return Place(batch, heads[head * shared + member], row, column, tile)


def _kernel(kernel: Kernel, pattern, place, words, heads, tiles, numbers, operands, _, outputs, scratch) -> None:
    axes = [pl.program_id(axis) for axis in range(4 if kernel.by_key else 3)]
    word = Word(words[axes[2]])
    at = place(*axes, words, heads, tiles, numbers)
    tile = Tile(kernel.shape, pattern, at, operands, 1 if kernel.by_key else 0)
    first, last = word.first, word.last
    if kernel.by_key:
        # A column is visited by every head of the group at each of its blocks.
        first, last = first & (axes[3] == 0), last & (axes[3] == pl.num_programs(3) - 1)
    kernel.body(Step(tile, word, outputs, scratch, numbers, first, last))
