"""Floating-point operations of the matrix products of a traced program, loops and recomputation included."""

import math
from typing import Any

from jax.extend import core


def product_flops(jaxpr: Any) -> float:
    """Returns the operations of all matrix products of a (closed) jaxpr on all devices together.

    A loop counts as often as it runs where that is known, and otherwise once; of the branches of a condition the costliest counts.
    What a Pallas kernel computes is what it declares.
    """
    return float(sum(map(_of_equation, getattr(jaxpr, "jaxpr", jaxpr).eqns)))


def _of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
        return 2.0 * depth * math.prod(equation.outvars[0].aval.shape)
    if name == "conv_general_dilated":
        kernel, numbers = equation.invars[1].aval.shape, params["dimension_numbers"]
        return 2.0 * math.prod(equation.outvars[0].aval.shape) * math.prod(kernel) / kernel[numbers.rhs_spec[0]]
    if name == "pallas_call":
        return float(params["cost_estimate"].flops) if params.get("cost_estimate") else 0.0
    inner = [product_flops(part) for value in params.values() for part in programs(value)]
    if name == "cond":
        return max(inner, default=0.0)
    times = {"scan": params.get("length"), "shard_map": params["mesh"].size if "mesh" in params else None}.get(name, 1)
    return float(times * sum(inner))


def programs(value: Any) -> list[Any]:
    """The programs among the parameters of an equation."""
    if isinstance(value, tuple | list):
        return [part for item in value for part in programs(item)]
    return [value] if isinstance(value, core.ClosedJaxpr | core.Jaxpr) else []
