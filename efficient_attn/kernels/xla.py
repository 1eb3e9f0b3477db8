"""Attention over live blocks in plain ``jnp``: runs on every backend, O(live) time, O(n) memory, a backward that recomputes.

Rows of queries are scanned; each row visits the slabs of its schedule with a running softmax (none where one slab is all).
Nothing of size ``T * S`` exists. The backward pass keeps output and log-sum-exp, visits the same slabs once, and accumulates
the gradients of keys and values in place: five products a slab, deterministic.

References:
  Rabe, Staats, "Self-attention Does Not Need O(n^2) Memory", 2021.
  Dao et al., "FlashAttention", 2022, algorithms 1 and 4.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from efficient_attn.kernels.problem import (
    LOWEST,
    Problem,
    Settings,
    Tile,
    group_products,
    no_gradient,
    pad_end,
    tile_bias,
    tile_scores,
)
from efficient_attn.kernels.row_tiles import (
    Tiles,
    by_heads,
    by_tokens,
    join_rows,
    largest_part,
    rows_together,
    split_rows,
)
from efficient_attn.kernels.schedule import Schedule, dynamic_schedule, static_schedule

# Bytes of one slab of scores that are computed at a time; a larger batch is cut. A few MB stay in a CPU's last-level cache.
_SLAB_BYTES = 6 * 2**20


def attend_xla(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32."""
    positions_known = problem.query_positions is None and problem.key_positions is None
    if positions_known and problem.query_segments is None:
        schedule = static_schedule(settings.pattern, problem.query.shape[1], problem.key.shape[1])
    else:
        schedule = dynamic_schedule(settings, problem)
    return attend_scheduled(settings, problem, schedule)


def attend_scheduled(settings: Settings, problem: Problem, schedule: Schedule) -> tuple[jax.Array, jax.Array]:
    """Attention over the slabs of ``schedule``, a part of the batch at a time."""
    q_len = problem.query.shape[1]
    problem = _pad_queries(problem, schedule.height)
    heads = problem.query.shape[2] * problem.query.shape[3]
    part = largest_part(problem.query.shape[0], heads * schedule.height * schedule.width * 4, _SLAB_BYTES)
    batched = problem.batched()
    parts = {name: x.reshape(-1, part, *x.shape[1:]) for name, x in batched.items()}
    run = functools.partial(_attend, settings)
    if len(next(iter(parts.values()))) == 1:
        output, lse = run(schedule, problem)
    else:
        output, lse = jax.lax.map(lambda fields: run(schedule, problem.replace(**fields)), parts)
        output, lse = (x.reshape(-1, *x.shape[2:]) for x in (output, lse))
    return output[:, :q_len], lse[:, :q_len]


def _pad_queries(problem: Problem, height: int) -> Problem:
    """Queries padded to whole rows. Padded ones see what they will: their outputs are cut off and get no gradient."""
    short = -problem.query.shape[1] % height
    if not short:
        return problem
    bias = problem.bias
    return problem.replace(
        query=pad_end(problem.query, 1, short),
        query_positions=pad_end(problem.query_positions, 3, short),
        query_segments=pad_end(problem.query_segments, 1, short),
        bias=bias if bias is None or bias.shape[3] == 1 else pad_end(bias, 3, short),
    )


class _Softmax(NamedTuple):
    """A softmax under way: unnormalised output, greatest score, sum of exponentials."""

    output: jax.Array
    peak: jax.Array
    total: jax.Array

    def finish(self) -> tuple[jax.Array, jax.Array]:
        """Output and log-sum-exp; 0 and -inf where nothing was seen."""
        seen = self.total > 0
        total = jnp.where(seen, self.total, 1.0)
        return self.output / total[..., None], jnp.where(seen, self.peak + jnp.log(total), -jnp.inf)

    def merge(self, other: "_Softmax") -> "_Softmax":
        """The softmax over both sets of keys."""
        peak = jnp.maximum(self.peak, other.peak)
        mine, theirs = jnp.exp(self.peak - peak), jnp.exp(other.peak - peak)
        output = self.output * mine[..., None] + other.output * theirs[..., None]
        return _Softmax(output, peak, self.total * mine + other.total * theirs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, schedule: Schedule, problem: Problem) -> tuple[jax.Array, jax.Array]:
    return _forward(settings, schedule, problem)


def _forward(settings: Settings, schedule: Schedule, problem: Problem) -> tuple[jax.Array, jax.Array]:
    together = rows_together(problem, schedule)

    def turn(_, xs):
        tiles, query = Tiles(schedule, problem, xs[0]), by_heads(xs[1])
        if schedule.single:
            softmax = _slab(settings, problem, tiles, tiles.begin, query)
        else:
            step = lambda s, running: running.merge(_slab(settings, problem, tiles, s, query))  # noqa: E731
            softmax = jax.lax.fori_loop(tiles.begin, tiles.end, step, _nothing(query, problem.value))
        output, lse = softmax.finish()
        return None, tuple(by_tokens(x, together) for x in (output.astype(problem.value.dtype), lse))

    rows = split_rows(problem.query, schedule.height, together)
    _, (output, lse) = jax.lax.scan(turn, None, (jnp.arange(len(rows) * together).reshape(-1, together), rows))
    return join_rows(output), join_rows(lse)


def _nothing(query: jax.Array, value: jax.Array) -> _Softmax:
    """The softmax over no keys."""
    shape = query.shape[:-1]
    output = jnp.zeros((*shape, value.shape[-1]), jnp.float32)
    return _Softmax(output, jnp.full(shape, LOWEST, jnp.float32), jnp.zeros(shape, jnp.float32))


def _slab(settings: Settings, problem: Problem, tiles: Tiles, slab: jax.Array, query: jax.Array) -> _Softmax:
    """The softmax of a turn's queries over one slab of keys."""
    tile, key, value = tiles.at(slab), tiles.cut(problem.key, slab), tiles.cut(problem.value, slab)
    scores = tile_scores(settings, problem, tile, query, key, tile_bias(problem, tile))
    scores = jnp.where(tiles.visible(settings, problem, tile, slab), scores, -jnp.inf)
    peak = scores.max(-1, initial=LOWEST)
    weights = jnp.exp(scores - peak[..., None])
    total = weights.sum(-1)
    keep = tiles.keep(settings, problem, tile)
    weights = (weights if keep is None else weights * keep).astype(value.dtype)
    return _Softmax(group_products(weights, value), peak, total)


def _attend_forward(settings: Settings, schedule: Schedule, problem: Problem):
    output, lse = _forward(settings, schedule, problem)
    return (output, lse), (schedule, problem, output, lse)


class _Gradients(NamedTuple):
    """Gradients that every row adds to."""

    key: jax.Array
    value: jax.Array
    bias: jax.Array | None


def _attend_backward(settings: Settings, saved, cotangents):
    schedule, problem, output, lse = saved
    d_output, d_lse = cotangents
    # The softmax's backward needs sum_j p_ij dp_ij, which is the product of output and its cotangent.
    centre = (output.astype(jnp.float32) * d_output.astype(jnp.float32)).sum(-1)
    empty = jnp.isneginf(lse)
    lse, centre = jnp.where(empty, 0.0, lse), centre - jnp.where(empty, 0.0, d_lse)

    together = rows_together(problem, schedule)

    def turn(grads: _Gradients, xs):
        tiles, of_turn = Tiles(schedule, problem, xs[0]), [by_heads(x) for x in xs[1:]]
        visit = functools.partial(_slab_backward, settings, problem, tiles, *of_turn)
        start = (jnp.zeros(of_turn[0].shape, jnp.float32), grads)
        if schedule.single:
            d_query, grads = visit(tiles.begin, start)
        else:
            d_query, grads = jax.lax.fori_loop(tiles.begin, tiles.end, visit, start)
        return grads, by_tokens(d_query.astype(problem.query.dtype), together)

    turns = [split_rows(x, schedule.height, together) for x in (problem.query, d_output, lse, centre)]
    rows = jnp.arange(len(turns[0]) * together).reshape(-1, together)
    grads, d_query = jax.lax.scan(turn, _zero_gradients(problem), (rows, *turns))
    return jax.tree.map(no_gradient, schedule), _cotangent(problem, join_rows(d_query), grads)


def _zero_gradients(problem: Problem) -> _Gradients:
    bias = problem.bias if problem.offset_table is None else problem.offset_table
    return jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), _Gradients(problem.key, problem.value, bias))


def _cotangent(problem: Problem, d_query: jax.Array, grads: _Gradients) -> Problem:
    """The cotangent of every field of the problem: zero for what is not differentiable."""
    cotangent = jax.tree.map(no_gradient, problem)
    changes = {
        "query": d_query,
        "key": grads.key.astype(problem.key.dtype),
        "value": grads.value.astype(problem.value.dtype),
    }
    if grads.bias is not None:
        field = "bias" if problem.offset_table is None else "offset_table"
        changes[field] = grads.bias.astype(getattr(problem, field).dtype)
    return cotangent.replace(**changes)


def _slab_backward(settings, problem: Problem, tiles: Tiles, query, d_row, lse, centre, slab, carry):
    """Adds one slab's part to the gradients of a turn's queries and of its keys, values and bias."""
    d_query, grads = carry
    tile, key, value = tiles.at(slab), tiles.cut(problem.key, slab), tiles.cut(problem.value, slab)
    score = functools.partial(tile_scores, settings, problem, tile)
    scores, pull = jax.vjp(score, query, key, tile_bias(problem, tile))
    visible = tiles.visible(settings, problem, tile, slab)
    weights = jnp.where(visible, jnp.exp(scores - lse[..., None]), 0.0)
    d_weights = group_products(d_row, value, transpose_right=True)
    keep = tiles.keep(settings, problem, tile)
    dropped = weights if keep is None else weights * keep
    d_weights = d_weights if keep is None else d_weights * keep
    d_value = _products_over_rows(dropped.astype(d_row.dtype), d_row)
    d_row_query, d_key, d_bias = pull(weights * (d_weights - centre[..., None]))
    grads = _Gradients(
        tiles.add(grads.key, d_key, slab),
        tiles.add(grads.value, d_value, slab),
        _add_bias(problem, grads.bias, d_bias, tile),
    )
    return d_query + d_row_query.astype(jnp.float32), grads


def _products_over_rows(left: jax.Array, right: jax.Array) -> jax.Array:
    """Sums over groups and rows of ``left [b, k, g, height, x]`` times ``right [b, k, g, height, y]``: ``[b, k, x, y]`` float32."""
    b, k = left.shape[:2]
    left, right = (x.reshape(b * k, -1, x.shape[-1]) for x in (left, right))
    return jnp.einsum("zmx,zmy->zxy", left, right, preferred_element_type=jnp.float32).reshape(b, k, left.shape[-1], -1)


def _add_bias(problem: Problem, total: jax.Array | None, part: jax.Array | None, tile: Tile) -> jax.Array | None:
    """Adds the gradient of ``tile_bias`` where that part was cut from."""
    if total is None or part is None:
        return None
    part = part.astype(jnp.float32)
    if problem.offset_table is not None:
        return total + part
    starts = [0] * total.ndim
    if total.shape[3] != 1:
        starts[3] = tile.row
    if problem.bias_first is None and total.shape[4] != 1:
        starts[4] = tile.column
    old = jax.lax.dynamic_slice(total, starts, part.shape)
    return jax.lax.dynamic_update_slice(total, old + part, starts)


_attend.defvjp(_attend_forward, _attend_backward)
