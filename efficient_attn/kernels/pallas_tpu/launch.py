"""Runs a kernel body over the work of every distinct pattern, into one set of outputs.

A body is called once for each step of the grid ``(batch rows, heads, live blocks, summed)``, with blocks of its operands in vector
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

from efficient_attn.kernels.pallas_parts import cost
from efficient_attn.kernels.pallas_tpu.operands import Operands, Place, Shape, block_specs
from efficient_attn.kernels.pallas_tpu.tile import Tile
from efficient_attn.kernels.pallas_tpu.work import FULL, NOTHING, PARTIAL, Launch, Word


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel body and what it runs over."""

    body: Callable[["Step"], None]
    shape: Shape
    by_key: bool
    """Whether lines are columns of keys, or rows of queries."""
    scratch: Mapping[str, tuple[int, ...]]
    """Float32 arrays in vector memory that live through a line."""
    outputs: Mapping[str, jax.ShapeDtypeStruct]
    """The results by name."""
    products: tuple[int, int]
    """Matrix products of a block with the size of a query head, and with that of a value head."""
    summed: tuple[int, int] = (1, 1)
    """Batch rows and heads, next to one another, that add to one result."""
    zeros: bool = False
    """Whether blocks that nothing is written to are 0: results by pairs have blocks that are not live."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the grid, as a body sees it."""

    tile: Tile
    word: Word
    outputs: Mapping[str, Any]
    scratch: Mapping[str, Any]
    numbers: Any
    first_member: Any
    """Whether this is the first, or the last, of the batch rows and heads that add to one result."""
    last_member: Any

    @property
    def counts(self) -> Any:
        """False in the filling of a group, which stays at the block before and must leave its result alone."""
        return (self.word.kind != NOTHING) | self.word.first

    @property
    def first(self) -> Any:
        """Whether the line begins here."""
        return self.word.first & self.first_member

    @property
    def last(self) -> Any:
        """Whether the line ends here."""
        return self.word.last & self.last_member

    def visit(self, update: Callable[[jax.Array | None], None]) -> None:
        """Calls ``update`` with the pairs that are visible: full and partial blocks are compiled apart.

        A block whose queries and keys lie in different segments is passed over.
        """
        full, partial = self.word.kind == FULL, self.word.kind == PARTIAL
        if "query_segments" in self.tile.refs:
            meet = self.tile.segments_meet()
            full, partial = full & meet, partial & meet
        pl.when(full)(lambda: update(self.tile.visible_by_arrays()))
        pl.when(partial)(lambda: update(self.tile.visible()))


def run(kernel: Kernel, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands) -> dict[str, jax.Array]:
    """All launches.

    Args:
      kernel: what to run.
      work: the launches, from ``work.launches`` by query or by key as the kernel wants.
      numbers: int32 numbers for dropout, see ``Tile.keep``.
      operands: arrays by name, padded to whole blocks.
    """
    if len(work) == 1 and len(work[0].words) == 1 and not kernel.zeros:
        return _launch(kernel, work[0], numbers, operands, {}, (work[0].words[0], work[0].tiles[0]))
    make = jnp.zeros if kernel.zeros else jax.lax.empty
    buffers = {name: make(x.shape, x.dtype) for name, x in kernel.outputs.items()}
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
    rows, heads = kernel.summed
    place = functools.partial(_place, kernel)
    grid = (operands["query"].shape[0] // rows, len(launch.heads) // heads, words.shape[0], rows * heads)
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
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary", "arbitrary")),
        cost_estimate=cost(_live(launch) * operands["query"].shape[0], shape.block, kernel.products, operands, outputs),
        name=kernel.body.__name__,
    )
    return call(*scalars, operands, dict(buffers))


def _live(launch: Launch) -> int:
    """Live blocks of one group of a launch, of all its heads; of several groups, their mean."""
    return round(len(launch.heads) * (Word(launch.words).kind != NOTHING).sum(1).mean())


def _place(kernel: Kernel, batch, head, step, member, words, heads, tiles, numbers) -> Place:
    """Where a step works, from the indices of the grid and the lists in scalar memory."""
    summed_rows, summed_heads = kernel.summed
    word = Word(words[step])
    row, column = (word.along, word.line) if kernel.by_key else (word.line, word.along)
    if summed_rows > 1:
        batch = batch * summed_rows + member // summed_heads
        member = member % summed_heads
    # A pattern without bitmaps has a list of one, which nothing reads.
    tile = tiles[step] if tiles.shape == words.shape else 0
    return Place(batch, heads[head * summed_heads + member], row, column, tile)


def _kernel(kernel: Kernel, pattern, place, words, heads, tiles, numbers, operands, _, outputs, scratch) -> None:
    axes = [pl.program_id(axis) for axis in range(4)]
    word, member = Word(words[axes[2]]), axes[3]
    tile = Tile(kernel.shape, pattern, place(*axes, words, heads, tiles, numbers), operands, 1 if kernel.by_key else 0)
    kernel.body(Step(tile, word, outputs, scratch, numbers, member == 0, member == pl.num_programs(3) - 1))
