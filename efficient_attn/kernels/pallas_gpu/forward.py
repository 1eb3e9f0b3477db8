"""The forward kernel: a program for each row of blocks and each head runs the softmax over its live blocks, in float32.

References:
  Dao et al., "FlashAttention", 2022, algorithm 1. Exponentials are taken to base 2, which spares a product for each score.
"""

import jax
import jax.numpy as jnp

from efficient_attn.kernels.pallas_gpu.launch import Kernel, Step, run
from efficient_attn.kernels.pallas_gpu.operands import Operands, Shape
from efficient_attn.kernels.pallas_gpu.tile import over_line
from efficient_attn.kernels.pallas_parts import LN_2, LOG2_E, product
from efficient_attn.kernels.problem import LOWEST


def forward(shape: Shape, operands: Operands, numbers: jax.Array | None) -> dict[str, jax.Array]:
    """``output [B, T, K, G, Hv]`` in the value's format and ``lse [B, K, G, T]`` in float32, of padded operands."""
    query, value = operands["query"], operands["value"]
    outputs = {
        "output": jax.ShapeDtypeStruct((*query.shape[:4], value.shape[3]), value.dtype),
        "lse": jax.ShapeDtypeStruct((query.shape[0], *query.shape[2:4], query.shape[1]), jnp.float32),
    }
    return run(Kernel(attention_forward, shape, False, outputs, (1, 1)), operands, numbers)


def attention_forward(step: Step) -> None:
    """The body."""
    query = step.tile(0).load("query")
    block = step.shape.block

    def visit(column, bitmap, partial, state):
        output, peak, total = state
        tile = step.tile(column, bitmap)
        value = tile.load("value")
        scores = tile.scores(query, tile.load("key")) * LOG2_E
        visible = tile.visible(partial)
        if visible is not None:
            scores = jnp.where(visible, scores, -jnp.inf)
        new_peak = jnp.maximum(peak, scores.max(1))
        weights = jnp.exp2(scores - new_peak[:, None])
        fade = jnp.exp2(peak - new_peak)
        total = total * fade + weights.sum(1)
        keep = tile.keep()
        weights = (weights if keep is None else weights * keep).astype(value.dtype)
        return output * fade[:, None] + product(weights, value, (1, 0)), new_peak, total

    state = (
        jnp.zeros((block, step.refs["value"].shape[-1]), jnp.float32),
        jnp.full((block,), LOWEST, jnp.float32),
        jnp.zeros((block,), jnp.float32),
    )
    output, peak, total = over_line(step.refs, step.line, visit, state)
    seen = total > 0
    divisor = jnp.where(seen, total, 1.0)
    step.store("output", output / divisor[:, None])
    step.store("lse", jnp.where(seen, (peak + jnp.log2(divisor)) * LN_2, -jnp.inf))
