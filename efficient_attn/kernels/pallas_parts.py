"""What the Pallas kernels for TPUs and for GPUs have in common."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl

from efficient_attn.kernels.problem import Problem

# Exponentials are taken to base 2, which spares a product for each score.
LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453


def product(left: jax.Array, right: jax.Array, contract: tuple[int, int]) -> jax.Array:
    """Matrix product over the given axes, accumulated in float32."""
    common = jnp.result_type(left, right)
    left, right = left.astype(common), right.astype(common)
    axes = (((contract[0],), (contract[1],)), ((), ()))
    return jax.lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)


def cost(
    live: int, block: int, products: tuple[int, int], operands: Mapping[str, Any], outputs: Any
) -> pl.CostEstimate:
    """What a kernel computes and moves, for the compiler's schedule and for those who count operations.

    Args:
      live: live blocks, of all batch rows and heads together.
      block: tokens along either side of one.
      products: matrix products of a block with the size of a query head, and with that of a value head.
      operands: arrays by name.
      outputs: their shapes; each is written once, and for each live block a block of keys and one of values is read.
    """
    sizes = operands["query"].shape[-1], operands["value"].shape[-1]
    pairs = live * block**2
    read = (
        live * block * sum(size * operands[x].dtype.itemsize for size, x in zip(sizes, ("key", "value"), strict=True))
    )
    written = sum(x.dtype.itemsize * math.prod(x.shape) for x in outputs.values())
    return pl.CostEstimate(
        flops=int(2 * pairs * sum(n * size for n, size in zip(products, sizes, strict=True))),
        transcendentals=int(pairs),
        bytes_accessed=int(read + written),
    )


def why_not(problem: Problem, formats: tuple[str, ...]) -> str | None:
    """What in the problem the kernels cannot do, which take arrays in ``formats``; None if they can do it all."""
    if problem.query_positions is not None or problem.key_positions is not None:
        return "computes positions from slot numbers and takes no arrays of positions"
    if problem.bias_first is not None:
        return "takes a bias by pairs and no RelativeBias"
    arrays: Mapping[str, jax.Array] = {name: getattr(problem, name) for name in ("query", "key", "value")}
    for name, x in arrays.items():
        if x.dtype.name not in formats:
            return f"takes {', '.join(formats[:-1])} and {formats[-1]}, and no {name} in {x.dtype}"
    return None


def dropout_numbers(problem: Problem) -> jax.Array | None:
    """Seed, numbers of batch rows and of heads in one int32 list ``[1 + B + N]``; None without dropout."""
    if problem.seed is None:
        return None
    seed = jax.lax.bitcast_convert_type(problem.seed, jnp.int32)
    return jnp.concatenate([seed[None], problem.batch_index, problem.head_index.reshape(-1)])
