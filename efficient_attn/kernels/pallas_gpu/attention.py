"""``attend`` by the GPU kernels: what they take and refuse, their operands, and how output and gradients belong together."""

import functools

import jax
import jax.numpy as jnp

from efficient_attn.kernels import pallas_parts
from efficient_attn.kernels.device import compiled_for
from efficient_attn.kernels.pallas_gpu import backward, forward
from efficient_attn.kernels.pallas_gpu.operands import Shape, pad
from efficient_attn.kernels.pallas_parts import LOG2_E, dropout_numbers
from efficient_attn.kernels.problem import Problem, Settings, no_gradient
from efficient_attn.kernels.xla import attend_xla

# Queries, and keys, of a block: with 4 warps for heads up to 64 and 8 beyond, no register of the three kernels is spilled.
BLOCK = 64
# Features of the widest head that the compiler has registers for.
_WIDEST = 256


def attend_pallas_gpu(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    """Output ``[B, T, K, G, Hv]`` in the value's format and log-sum-exp ``[B, T, K, G]`` in float32, for one pattern.

    Raises:
      NotImplementedError: for what the kernels cannot do, and where the program is compiled for something other than a GPU.
    """
    reason = why_not(problem)
    if reason is not None:
        raise NotImplementedError(f"implementation 'pallas_gpu' {reason}; implementation 'xla' does")
    return _attend(settings, problem)


def why_not(problem: Problem) -> str | None:
    """What in the problem the kernels cannot do; None if they can do it all."""
    reason = pallas_parts.why_not(problem, ("float32", "bfloat16", "float16"))
    if reason is None and (widest := _widest(problem)) > _WIDEST:
        return f"takes heads of at most {_WIDEST}, and none of {widest}"
    return reason


def _widest(problem: Problem) -> int:
    return max(problem.query.shape[-1], problem.value.shape[-1])


def too_old() -> bool:
    """Whether this machine's GPUs are older than Ampere, for which Triton no longer compiles."""
    gpus = [device for device in jax.local_devices() if device.platform == "gpu"]
    # "7.0" of NVIDIA's; AMD's have a name.
    generations = [str(device.compute_capability).partition(".")[0] for device in gpus]
    return any(generation.isdigit() and int(generation) < 8 for generation in generations)


def _shape(settings: Settings, problem: Problem) -> Shape:
    warps = 4 if _widest(problem) <= 64 else 8
    return Shape(settings, problem.query.shape[1], problem.key.shape[1], BLOCK, warps=warps)


def _operands(problem: Problem, block: int) -> dict[str, jax.Array]:
    """The problem's arrays with whole blocks and features of a power of two."""
    found = {name: getattr(problem, name) for name in ("query", "key", "value", "bias")}
    for name in ("key_mask", "query_segments", "key_segments"):
        x = getattr(problem, name)
        found[name] = None if x is None else x.astype(jnp.int32)
    return {name: pad(name, x, block) for name, x in found.items() if x is not None}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, problem: Problem) -> tuple[jax.Array, jax.Array]:
    return _attend_forward(settings, problem)[0]


def _attend_forward(settings: Settings, problem: Problem):
    shape = _shape(settings, problem)
    operands = _operands(problem, shape.block)
    operands["query"] = compiled_for("gpu", operands["query"])
    found = forward.forward(shape, operands, dropout_numbers(problem))
    output = found["output"][:, : shape.q_len, ..., : problem.value.shape[-1]]
    lse = jnp.moveaxis(found["lse"][..., : shape.q_len], 3, 1)
    return (output, lse), (problem, output, lse)


def _attend_backward(settings: Settings, saved, cotangents):
    problem, output, lse = saved
    d_output, d_lse = cotangents
    shape = _shape(settings, problem)
    empty = jnp.isneginf(lse)
    products = jnp.einsum("btkgh,btkgh->btkg", output, d_output, preferred_element_type=jnp.float32)
    by_query = {"lse": jnp.where(empty, jnp.inf, lse * LOG2_E), "centre": products - jnp.where(empty, 0.0, d_lse)}
    given = {"d_output": d_output} | {name: jnp.moveaxis(x, 1, 3) for name, x in by_query.items()}
    operands = _operands(problem, shape.block) | {name: pad(name, x, shape.block) for name, x in given.items()}
    numbers = dropout_numbers(problem)
    d_query = backward.query_gradient(shape, operands, numbers)
    d_key, d_value = backward.key_value_gradients(shape, operands, numbers)
    found = jax.tree.map(no_gradient, problem)
    return (
        found.replace(
            query=d_query[:, : shape.q_len, ..., : problem.query.shape[-1]],
            key=d_key[:, : shape.k_len, :, : problem.key.shape[-1]],
            value=d_value[:, : shape.k_len, :, : problem.value.shape[-1]],
            bias=_bias_gradient(settings, problem, cotangents),
        ),
    )


def _bias_gradient(settings: Settings, problem: Problem, cotangents) -> jax.Array | None:
    """By XLA, whose gradient is summed over all that share the bias. A program that does not ask for it does not run it."""
    if problem.bias is None:
        return None
    _, pull = jax.vjp(lambda bias: attend_xla(settings, problem.replace(bias=bias)), problem.bias)
    return pull(cotangents)[0]


_attend.defvjp(_attend_forward, _attend_backward)
