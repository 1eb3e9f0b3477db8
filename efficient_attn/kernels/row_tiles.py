"""The rows of queries that one turn of the XLA loop takes, and the tiles that they visit."""

import jax
import jax.numpy as jnp

from efficient_attn.kernels.problem import Problem, Settings, Tile, tile_keep, tile_visible
from efficient_attn.kernels.schedule import Schedule

# Bytes of scores up to which short rows are taken together in one turn of the loop.
_TURN_BYTES = 2 * 2**20


def largest_part(whole: int, bytes_each: int, limit: int) -> int:
    """The largest divisor of ``whole`` whose bytes stay within ``limit``, at least 1."""
    return max(d for d in range(1, whole + 1) if whole % d == 0 and (d == 1 or d * bytes_each <= limit))


def rows_together(problem: Problem, schedule: Schedule) -> int:
    """Rows of queries that one turn of the loop takes, as if they were batch rows.

    A turn has a fixed cost, so short rows are taken together up to a few MB of scores; only where a row is one slab and nothing
    but queries, keys and values is cut from the problem.
    """
    features = (problem.query_positions, problem.key_positions, problem.key_mask, problem.query_segments, problem.bias)
    if not schedule.single or problem.offset_table is not None or any(x is not None for x in features):
        return 1
    batch, _, keys, groups = problem.query.shape[:4]
    bytes_per_row = batch * keys * groups * schedule.height * schedule.width * 4
    return largest_part(len(schedule.begin), bytes_per_row, _TURN_BYTES)


class Tiles:
    """The tiles that one turn visits: those of a row of queries, or one of each of several rows, stacked as batch rows."""

    def __init__(self, schedule: Schedule, problem: Problem, rows: jax.Array):
        self.schedule, self.rows, self.batch = schedule, rows, problem.query.shape[0]
        first = rows[0] if len(rows) == 1 else rows
        self.begin, self.end = jnp.asarray(schedule.begin)[first], jnp.asarray(schedule.end)[first]

    def at(self, slab: jax.Array) -> Tile:
        """The rectangle of slots, or one for each stacked batch row."""
        row, column = self.rows * self.schedule.height, jnp.asarray(self.schedule.start)[slab]
        if len(self.rows) == 1:
            return Tile(row[0], column, self.schedule.height, self.schedule.width)
        row, column = jnp.repeat(row, self.batch), jnp.repeat(column, self.batch)
        return Tile(row, column, self.schedule.height, self.schedule.width)

    def starts(self, slab: jax.Array) -> list[jax.Array]:
        """The first key slot of each row's slab."""
        start = jnp.asarray(self.schedule.start)[slab]
        return [start] if len(self.rows) == 1 else list(start)

    def cut(self, x: jax.Array, slab: jax.Array) -> jax.Array:
        """The slabs of keys or values ``[B, S, K, H]``, stacked and laid out by heads: ``[rows * B, K, width, H]``.

        A slab is copied when it is cut; that this copy transposes costs nothing.
        """
        slabs = [jax.lax.dynamic_slice_in_dim(x, start, self.schedule.width, 1) for start in self.starts(slab)]
        return jnp.swapaxes(slabs[0] if len(slabs) == 1 else jnp.concatenate(slabs), 1, 2)

    def add(self, total: jax.Array, part: jax.Array, slab: jax.Array) -> jax.Array:
        """``total`` with the stacked slabs added where ``cut`` took them from."""
        part = jnp.swapaxes(part.astype(jnp.float32), 1, 2)
        for start, own in zip(self.starts(slab), part.reshape(len(self.rows), -1, *part.shape[1:]), strict=True):
            old = jax.lax.dynamic_slice_in_dim(total, start, self.schedule.width, 1)
            total = jax.lax.dynamic_update_slice_in_dim(total, old + own, start, 1)
        return total

    def visible(self, settings: Settings, problem: Problem, tile: Tile, slab: jax.Array) -> jax.Array:
        """``tile_visible`` without the keys that the slab before has covered."""
        visible = tile_visible(settings, problem, tile)
        if self.schedule.single:
            return visible
        slots = tile.column + jnp.arange(tile.width, dtype=jnp.int32)
        return visible & (slots >= jnp.asarray(self.schedule.low)[slab])

    def keep(self, settings: Settings, problem: Problem, tile: Tile) -> jax.Array | None:
        """``tile_keep`` of the stacked batch rows."""
        if problem.batch_index is not None:
            problem = problem.replace(batch_index=jnp.tile(problem.batch_index, len(self.rows)))
        return tile_keep(settings, problem, tile)


def split_rows(x: jax.Array, height: int, together: int) -> jax.Array:
    """``[B, T, K, G, ...]`` to turns ``[turns, rows * B, height, K, G, ...]``: free for a batch of one."""
    rows = jnp.moveaxis(x.reshape(x.shape[0], -1, height, *x.shape[2:]), 1, 0)
    return rows.reshape(-1, together * x.shape[0], *rows.shape[2:])


def join_rows(x: jax.Array) -> jax.Array:
    """Turns ``[turns, rows, B, height, K, G, ...]`` to ``[B, T, K, G, ...]``."""
    x = jnp.moveaxis(x.reshape(-1, *x.shape[2:]), 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def by_heads(row: jax.Array) -> jax.Array:
    """One turn ``[b, height, K, G, ...]`` to ``[b, K, G, height, ...]``, while it is in cache."""
    return jnp.moveaxis(row, 1, 3)


def by_tokens(row: jax.Array, together: int) -> jax.Array:
    """The inverse of ``by_heads``, with the rows that were taken together apart again: ``[rows, B, height, K, G, ...]``."""
    row = jnp.moveaxis(row, 3, 1)
    return row.reshape(together, -1, *row.shape[1:])
