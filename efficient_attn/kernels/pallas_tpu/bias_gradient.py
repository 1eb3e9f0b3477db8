"""The gradient of an additive bias: what each pair, query or key adds to the scores, summed over all that share it.

A pass of its own, since the pairs of a block are shared by batch rows and heads, which are visited one after the other while
the block's sum stays in vector memory. A program that does not ask for this gradient does not run it.
"""

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from efficient_attn.kernels.pallas_tpu.backward import weights_and_gradients
from efficient_attn.kernels.pallas_tpu.launch import Kernel, Step, run
from efficient_attn.kernels.pallas_tpu.operands import Operands, Shape
from efficient_attn.kernels.pallas_tpu.tile import LANES, flat, over_lanes, spread, upright
from efficient_attn.kernels.pallas_tpu.work import Launch


def bias_gradient(
    shape: Shape, work: tuple[Launch, ...], numbers: jax.Array, operands: Operands, name: str
) -> jax.Array:
    """The gradient of operand ``name``: ``"bias"``, ``"row_bias"`` or, with blocks listed by key, ``"column_bias"``."""
    bias, batch = operands[name], operands["query"].shape[0]
    outputs = {f"d_{name}": jax.ShapeDtypeStruct(bias.shape, bias.dtype)}
    summed = (batch // bias.shape[0], shape.heads // bias.shape[1])
    if name == "bias":
        scratch = {"total": (shape.block, shape.block)}
        kernel = Kernel(attention_d_bias, shape, False, scratch, outputs, (1, 1), summed, zeros=True)
    else:
        scratch = {"total": (shape.block, LANES)}
        kernel = Kernel(attention_d_line_bias, shape, name == "column_bias", scratch, outputs, (1, 1), summed)
    return run(kernel, work, numbers, operands)[f"d_{name}"]


def _d_scores(step: Step, visible: jax.Array | None) -> jax.Array:
    tile = step.tile
    lse, centre = tile["lse"], tile["centre"]
    if tile.query_axis == 0:
        lse, centre = (spread(upright(x), x.shape[1]) for x in (lse, centre))
    return weights_and_gradients(step, visible, lse, centre)[1]


def attention_d_bias(step: Step) -> None:
    """The body for a bias by pairs."""
    total = step.scratch["total"]
    (result,) = step.outputs.values()

    @pl.when(step.first_member & step.counts)
    def _():
        total[...] = jnp.zeros(total.shape, jnp.float32)

    def update(visible: jax.Array | None) -> None:
        total[...] += _d_scores(step, visible)

    step.visit(update)

    @pl.when(step.last_member & step.counts)
    def _():
        result[...] = total[...].astype(result.dtype)


def attention_d_line_bias(step: Step) -> None:
    """The body for a bias by query, or by key: the sum along its line."""
    total = step.scratch["total"]
    (result,) = step.outputs.values()

    @pl.when(step.first)
    def _():
        total[...] = jnp.zeros(total.shape, jnp.float32)

    def update(visible: jax.Array | None) -> None:
        total[...] += over_lanes(_d_scores(step, visible), jnp.add)

    step.visit(update)

    @pl.when(step.last)
    def _():
        whole = jnp.broadcast_to(total[...].sum(1, keepdims=True), total.shape)
        result[...] = flat(whole).astype(result.dtype)
