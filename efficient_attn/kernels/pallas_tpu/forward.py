"""The forward kernel: a running softmax over the live blocks of each row of queries, in float32.

References:
  Dao et al., "FlashAttention", 2022, algorithm 1. Exponentials are taken to base 2, which spares a product for each score.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from efficient_attn.kernels.pallas_parts import LN_2, LOG2_E, product
from efficient_attn.kernels.pallas_tpu.launch import Kernel, Step, run
from efficient_attn.kernels.pallas_tpu.operands import Operands, Shape
from efficient_attn.kernels.pallas_tpu.tile import LANES, flat, over_lanes, spread
from efficient_attn.kernels.pallas_tpu.work import Launch
from efficient_attn.kernels.problem import LOWEST


def forward(shape: Shape, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands) -> dict[str, jax.Array]:
    """``output [B, N, T, Hv]`` in the value's format and ``lse [B, N, 1, T]`` in float32, of padded operands."""
    batch, heads, rows, _ = operands["query"].shape
    value = operands["value"]
    outputs = {
        "output": jax.ShapeDtypeStruct((batch, heads, rows, value.shape[3]), value.dtype),
        "lse": jax.ShapeDtypeStruct((batch, heads, 1, rows), jnp.float32),
    }
    scratch = {
        "output": (shape.block, value.shape[3]),
        "peak": (shape.block, LANES),
        "total": (shape.block, LANES),
    }
    return run(Kernel(attention_forward, shape, False, scratch, outputs, (1, 1)), work, numbers, operands)


def attention_forward(step: Step) -> None:
    """The body: one block of keys joins the softmax of a row."""
    output, peak, total = (step.scratch[name] for name in ("output", "peak", "total"))

    @pl.when(step.first)
    def _():
        output[...] = jnp.zeros(output.shape, jnp.float32)
        peak[...] = jnp.full(peak.shape, LOWEST, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)

    def update(visible: jax.Array | None) -> None:
        tile, value = step.tile, step.tile["value"]
        scores = tile.scores() * LOG2_E
        if visible is not None:
            scores = jnp.where(visible, scores, -jnp.inf)
        old_peak = peak[...]
        new_peak = jnp.maximum(old_peak, over_lanes(scores, jnp.maximum).max(1, keepdims=True))
        weights = jnp.exp2(scores - spread(new_peak, scores.shape[1]))
        fade = jnp.exp2(old_peak - new_peak)
        peak[...] = new_peak
        # Each lane sums its own columns; the lanes are added once, when the row ends.
        total[...] = total[...] * fade + over_lanes(weights, jnp.add)
        keep = tile.keep(step.numbers)
        weights = (weights if keep is None else weights * keep).astype(value.dtype)
        output[...] = output[...] * spread(fade, output.shape[1]) + product(weights, value, (1, 0))

    step.visit(update)

    @pl.when(step.last)
    def _():
        whole = jnp.broadcast_to(total[...].sum(1, keepdims=True), total.shape)
        seen = whole > 0
        divisor = jnp.where(seen, whole, 1.0)
        step.outputs["output"][...] = (output[...] / spread(divisor, output.shape[1])).astype(
            step.outputs["output"].dtype
        )
        lse = jnp.where(seen, (peak[...] + jnp.log2(divisor)) * LN_2, -jnp.inf)
        step.outputs["lse"][...] = flat(lse)
