"""The backward kernels: the gradient of queries over the rows of the block mask, of keys and values over its columns.

With weights ``p``, their cotangent ``dp = do v^T`` and ``centre_i = o_i . do_i - dL_i``: ``ds = p (dp - centre)``, and

    dq = scale * ds k,   dk = scale * ds^T q,   dv = p^T do.

Both recompute ``p`` from the log-sum-exp, and add up in float32 in the order of their lists: the same bits every time.

References:
  Dao, "FlashAttention-2", 2023, algorithm 2, split in two passes so that no sum is shared between lines.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from efficient_attn.kernels.pallas_parts import LOG2_E, product
from efficient_attn.kernels.pallas_tpu.launch import Kernel, Step, run
from efficient_attn.kernels.pallas_tpu.operands import Operands, Shape
from efficient_attn.kernels.pallas_tpu.tile import LANES, flat, spread, upright
from efficient_attn.kernels.pallas_tpu.work import Launch


def query_gradient(
    shape: Shape, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands
) -> tuple[jax.Array, jax.Array]:
    """``[B, N, T, H]`` in the query's format, and the centre, float32 ``[B, N, 1, T]``. ``work`` lists blocks by query."""
    query, lse = operands["query"], operands["lse"]
    outputs = {
        "d_query": jax.ShapeDtypeStruct(query.shape, query.dtype),
        "centre": jax.ShapeDtypeStruct(lse.shape, jnp.float32),
    }
    scratch = {
        "d_query": (shape.block, query.shape[3]),
        "lse": (shape.block, LANES),
        "centre": (shape.block, LANES),
    }
    found = run(Kernel(attention_d_query, shape, False, scratch, outputs, (2, 1)), work, numbers, operands)
    return found["d_query"], found["centre"]


def key_value_gradients(
    shape: Shape, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands
) -> tuple[jax.Array, jax.Array]:
    """``[B, K, S, H]`` and ``[B, K, S, Hv]`` in the formats of key and value. ``work`` lists blocks by key."""
    key, value = operands["key"], operands["value"]
    # Heads of a group add to one gradient within a launch, unless patterns part the group between launches.
    grouped = all(_whole_groups(launch.heads, shape.groups) for launch in work)
    heads = key.shape[1] if grouped else shape.heads
    outputs = {
        f"d_{name}": jax.ShapeDtypeStruct((x.shape[0], heads, *x.shape[2:]), x.dtype if grouped else jnp.float32)
        for name, x in (("key", key), ("value", value))
    }
    scratch = {name: (shape.block, x.shape[3]) for name, x in outputs.items()}
    kernel = Kernel(attention_d_key_value, shape, True, scratch, outputs, (2, 2), (1, shape.heads // heads))
    found = run(kernel, work, numbers, operands)
    d_key, d_value = found["d_key"], found["d_value"]
    if not grouped:
        d_key, d_value = (_sum_groups(x, shape.groups) for x in (d_key, d_value))
    return d_key.astype(key.dtype), d_value.astype(value.dtype)


def _whole_groups(heads: tuple[int, ...], groups: int) -> bool:
    wanted = {head // groups for head in heads}
    return len(wanted) * groups == len(heads)


def _sum_groups(x: jax.Array, groups: int) -> jax.Array:
    return x.reshape(x.shape[0], -1, groups, *x.shape[2:]).sum(2)


def weights_and_gradients(step: Step, visible: jax.Array | None, lse: jax.Array, centre: jax.Array):
    """Weights after dropout, and the gradient of the scores before bias and soft cap, of one tile.

    Args:
      step: the step of the grid.
      visible: pairs that may attend, or None for all.
      lse: log-sum-exp to base 2 of each query, broadcastable to the tile; plus infinity where nothing was seen.
      centre: ``o . do - dL`` of each query, likewise.
    """
    tile, cap = step.tile, step.tile.shape.settings.logits_soft_cap
    scores = tile.scores()
    exponent = scores * LOG2_E - lse
    weights = jnp.exp2(exponent if visible is None else jnp.where(visible, exponent, -jnp.inf))
    d_output, value = tile["d_output"], tile["value"]
    left, right = (d_output, value) if tile.query_axis == 0 else (value, d_output)
    d_weights = product(left, right, (1, 1))
    keep = tile.keep(step.numbers)
    if keep is not None:
        d_weights = d_weights * keep
    d_scores = weights * (d_weights - centre)
    if cap is not None:
        d_scores = d_scores * (1.0 - jnp.square(scores / cap))
    return (weights if keep is None else weights * keep), d_scores


def attention_d_query(step: Step) -> None:
    """The body for queries: one block of keys adds to the gradient of a row."""
    total, lse, centre = (step.scratch[name] for name in ("d_query", "lse", "centre"))
    tile, scale = step.tile, step.tile.shape.settings.scale

    @pl.when(step.first)
    def _():
        total[...] = jnp.zeros(total.shape, jnp.float32)
        lse[...] = upright(tile["lse"])
        products = tile["output"].astype(jnp.float32) * tile["d_output"].astype(jnp.float32)
        centre[...] = products.sum(1, keepdims=True) - upright(tile["d_lse"])
        step.outputs["centre"][...] = flat(centre[...])

    def update(visible: jax.Array | None) -> None:
        key = tile["key"]
        width = key.shape[0]
        _, d_scores = weights_and_gradients(step, visible, spread(lse[...], width), spread(centre[...], width))
        total[...] += product(d_scores.astype(key.dtype), key, (1, 0))

    step.visit(update)

    @pl.when(step.last)
    def _():
        step.outputs["d_query"][...] = (total[...] * scale).astype(step.outputs["d_query"].dtype)


def attention_d_key_value(step: Step) -> None:
    """The body for keys and values: one block of queries of one head adds to the gradients of a column."""
    d_key, d_value = step.scratch["d_key"], step.scratch["d_value"]
    tile, scale = step.tile, step.tile.shape.settings.scale

    @pl.when(step.first)
    def _():
        d_key[...] = jnp.zeros(d_key.shape, jnp.float32)
        d_value[...] = jnp.zeros(d_value.shape, jnp.float32)

    def update(visible: jax.Array | None) -> None:
        query, d_output = tile["query"], tile["d_output"]
        weights, d_scores = weights_and_gradients(step, visible, tile["lse"], tile["centre"])
        d_value[...] += product(weights.astype(d_output.dtype), d_output, (1, 0))
        d_key[...] += product(d_scores.astype(query.dtype), query, (1, 0))

    step.visit(update)

    @pl.when(step.last)
    def _():
        step.outputs["d_key"][...] = (d_key[...] * scale).astype(step.outputs["d_key"].dtype)
        step.outputs["d_value"][...] = d_value[...].astype(step.outputs["d_value"].dtype)
