"""The backward kernels: the gradient of queries over the rows of the block mask, of keys and values over its columns.

With weights ``p``, their cotangent ``dp = do v^T`` and ``centre_i = o_i . do_i - dL_i``: ``ds = p (dp - centre)``, and

    dq = scale * ds k,   dk = scale * ds^T q,   dv = p^T do.

Both recompute ``p`` from the log-sum-exp, and add up in float32 in the order of their lists: the same bits every time.

References:
  Dao, "FlashAttention-2", 2023, algorithm 2, split in two passes so that no sum is shared between programs.
"""

from typing import Any

import jax
import jax.numpy as jnp

from efficient_attn.kernels.pallas_gpu.launch import Kernel, Step, run
from efficient_attn.kernels.pallas_gpu.operands import Operands, Shape
from efficient_attn.kernels.pallas_gpu.tile import Tile, over_line
from efficient_attn.kernels.pallas_parts import LOG2_E, product


def query_gradient(shape: Shape, operands: Operands, numbers: jax.Array | None) -> jax.Array:
    """``[B, T, K, G, H]`` in the query's format."""
    query = operands["query"]
    outputs = {"d_query": jax.ShapeDtypeStruct(query.shape, query.dtype)}
    return run(Kernel(attention_d_query, shape, False, outputs, (2, 1)), operands, numbers)["d_query"]


def key_value_gradients(shape: Shape, operands: Operands, numbers: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """``[B, S, K, H]`` and ``[B, S, K, Hv]`` in the formats of key and value, summed over the heads of a group."""
    outputs = {
        f"d_{name}": jax.ShapeDtypeStruct(operands[name].shape, operands[name].dtype) for name in ("key", "value")
    }
    found = run(Kernel(attention_d_key_value, shape, True, outputs, (2, 2)), operands, numbers)
    return found["d_key"], found["d_value"]


def _gradients(tile: Tile, partial: bool, loaded: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Weights after dropout, and the gradient of the scores before bias and soft cap, of one tile."""
    cap = tile.shape.settings.logits_soft_cap
    scores = tile.scores(loaded["query"], loaded["key"])
    exponent = scores * LOG2_E - loaded["lse"]
    visible = tile.visible(partial)
    weights = jnp.exp2(exponent if visible is None else jnp.where(visible, exponent, -jnp.inf))
    left, right = (loaded["d_output"], loaded["value"])[:: 1 if tile.query_axis == 0 else -1]
    d_weights = product(left, right, (1, 1))
    keep = tile.keep()
    if keep is not None:
        d_weights = d_weights * keep
    d_scores = weights * (d_weights - loaded["centre"])
    if cap is not None:
        d_scores = d_scores * (1.0 - jnp.square(scores / cap))
    return (weights if keep is None else weights * keep), d_scores


def _of_queries(tile: Tile) -> dict[str, jax.Array]:
    found = {name: tile.load(name) for name in ("query", "d_output")}
    return found | {name: tile.of_queries(name) for name in ("lse", "centre")}


def attention_d_query(step: Step) -> None:
    """The body for queries: a row of blocks of one query head."""
    of_queries = _of_queries(step.tile(0))

    def visit(column: Any, bitmap: Any, partial: bool, total: jax.Array) -> jax.Array:
        tile = step.tile(column, bitmap)
        key = tile.load("key")
        _, d_scores = _gradients(tile, partial, of_queries | {"key": key, "value": tile.load("value")})
        return total + product(d_scores.astype(key.dtype), key, (1, 0))

    total = jnp.zeros(of_queries["query"].shape, jnp.float32)
    step.store("d_query", over_line(step.refs, step.line, visit, total) * step.shape.settings.scale)


def attention_d_key_value(step: Step) -> None:
    """The body for keys and values: a column of blocks of all query heads that read the key head, one after the other."""
    key, value = (step.tile(0, group=0).load(name) for name in ("key", "value"))

    def one_head(group: Any, state: Any) -> Any:
        def visit(row: Any, bitmap: Any, partial: bool, state: Any) -> Any:
            tile = step.tile(row, bitmap, group)
            of_queries = _of_queries(tile)
            weights, d_scores = _gradients(tile, partial, of_queries | {"key": key, "value": value})
            query, d_output = of_queries["query"], of_queries["d_output"]
            d_key, d_value = state
            return (
                d_key + product(d_scores.astype(query.dtype), query, (1, 0)),
                d_value + product(weights.astype(d_output.dtype), d_output, (1, 0)),
            )

        return over_line(step.refs, step.line, visit, state)

    zeros = tuple(jnp.zeros(x.shape, jnp.float32) for x in (key, value))
    d_key, d_value = jax.lax.fori_loop(0, step.groups, one_head, zeros)
    step.store("d_key", d_key * step.shape.settings.scale)
    step.store("d_value", d_value)
