"""``attend`` by the TPU kernels: what they take and refuse, their layout, and how output and gradients belong together."""

import functools

import jax
import jax.numpy as jnp

from efficient_attn.kernels import pallas_parts
from efficient_attn.kernels.device import compiled_for
from efficient_attn.kernels.pallas_parts import LOG2_E, dropout_numbers
from efficient_attn.kernels.pallas_tpu import backward, bias_gradient, forward
from efficient_attn.kernels.pallas_tpu.operands import LAYOUTS, Operands, Shape
from efficient_attn.kernels.pallas_tpu.work import launches
from efficient_attn.kernels.problem import Problem, Settings, no_gradient
from efficient_attn.patterns.block_mask import best_block


def attend_pallas_tpu(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32.

    Raises:
      NotImplementedError: for what the kernels cannot do, and where the program is compiled for something other than a TPU.
    """
    reason = why_not(problem)
    if reason is not None:
        raise NotImplementedError(f"implementation 'pallas_tpu' {reason}; implementation 'xla' does")
    _, q_len, keys, groups, _ = problem.query.shape
    k_len = problem.key.shape[1]
    block = settings.block or best_block(settings.pattern, q_len, k_len)
    shape = Shape(settings, keys * groups, groups, q_len, k_len, block)
    operands = _operands(shape, problem)
    output, lse = attend_blocks(shape, operands, _numbers(problem))
    output = jnp.swapaxes(output[:, :, :q_len], 1, 2).reshape(*problem.query.shape[:4], -1)
    lse = jnp.swapaxes(lse[:, :, 0, :q_len], 1, 2).reshape(problem.query.shape[:4])
    return output, lse


def why_not(problem: Problem) -> str | None:
    """What in the problem the kernels cannot do; None if they can do it all."""
    return pallas_parts.why_not(problem, ("float32", "bfloat16"))


def _operands(shape: Shape, problem: Problem) -> dict[str, jax.Array]:
    """The problem's arrays in the kernels' layout, padded to whole blocks."""
    query = problem.query.reshape(*problem.query.shape[:2], shape.heads, -1)
    found = {"query": jnp.swapaxes(query, 1, 2)}
    found |= {name: jnp.swapaxes(getattr(problem, name), 1, 2) for name in ("key", "value")}
    for name in ("key_mask", "query_segments", "key_segments"):
        x = getattr(problem, name)
        if x is not None:
            found[name] = x.astype(jnp.int32)[:, None]
    if problem.bias is not None:
        found |= _bias(shape, problem.bias)
    return {name: _pad(shape, name, x) for name, x in found.items()}


def _bias(shape: Shape, bias: jax.Array) -> dict[str, jax.Array]:
    """The bias by pairs, by query or by key; what is shared by both is repeated for each key."""
    batch, keys, groups, q_len, k_len = bias.shape
    # One launch sums over heads that share a bias; heads of several launches get a copy each.
    if (keys, groups) != (1, 1) or len(_work(shape, False)) > 1:
        bias = jnp.broadcast_to(bias, (batch, shape.heads // shape.groups, shape.groups, q_len, k_len))
    bias = bias.reshape(batch, -1, q_len, k_len)
    if q_len == 1:
        return {"column_bias": jnp.broadcast_to(bias, (*bias.shape[:3], shape.k_len))}
    return {"row_bias": jnp.swapaxes(bias, 2, 3)} if k_len == 1 else {"bias": bias}


def _pad(shape: Shape, name: str, x: jax.Array) -> jax.Array:
    wanted = {"rows": shape.rows, "columns": shape.columns}
    widths = [(0, wanted.get(axis, size) - size) for axis, size in zip(LAYOUTS[name], x.shape, strict=True)]
    return jnp.pad(x, widths) if any(more for _, more in widths) else x


def _numbers(problem: Problem) -> jax.Array:
    """What dropout is drawn from; zeros without dropout, as the kernels always take a list."""
    found = dropout_numbers(problem)
    batch, _, keys, groups, _ = problem.query.shape
    return jnp.zeros(1 + batch + keys * groups, jnp.int32) if found is None else found


def _work(shape: Shape, by_key: bool):
    return launches(shape.settings.pattern, shape.heads, shape.q_len, shape.k_len, shape.block, by_key)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def attend_blocks(shape: Shape, operands: Operands, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, N, T, Hv]`` and log-sum-exp ``[B, N, 1, T]`` of padded operands."""
    operands = {**operands, "query": compiled_for("tpu", operands["query"])}
    found = forward.forward(shape, _work(shape, False), numbers, operands)
    return found["output"], found["lse"]


def _attend_blocks_forward(shape: Shape, operands: Operands, numbers: jax.Array):
    output, lse = attend_blocks(shape, operands, numbers)
    return (output, lse), (operands, numbers, output, lse)


def _attend_blocks_backward(shape: Shape, saved, cotangents):
    operands, numbers, output, lse = saved
    d_output, d_lse = cotangents
    empty = jnp.isneginf(lse)
    given = {**operands, "d_output": d_output, "lse": jnp.where(empty, jnp.inf, lse * LOG2_E)}
    of_rows = {**given, "output": output, "d_lse": jnp.where(empty, 0.0, d_lse)}
    d_query, given["centre"] = backward.query_gradient(shape, _work(shape, False), numbers, of_rows)
    d_key, d_value = backward.key_value_gradients(shape, _work(shape, True), numbers, given)
    found = jax.tree.map(no_gradient, dict(operands))
    found |= {"query": d_query, "key": d_key, "value": d_value}
    for name in ("bias", "row_bias", "column_bias"):
        if name in operands:
            work = _work(shape, name == "column_bias")
            found[name] = bias_gradient.bias_gradient(shape, work, numbers, given, name)
    return found, no_gradient(numbers)


attend_blocks.defvjp(_attend_blocks_forward, _attend_blocks_backward)
