"""The longest chain of steps of a traced program that wait for each other: what many processors cannot shorten.

Every operation is one step, whatever its size, but for sorts and cumulative sums of ``n``, which are ``log2(n)``. A loop whose
turns need nothing of each other is as long as one of them, as its turns might run at once.
"""

import math
from typing import Any

from jax.extend import core

from efficient_attn.planning.flops import programs

_LOGARITHMIC = ("sort", "cumsum", "cummax", "cumlogsumexp", "cumprod")


def chain(jaxpr: Any) -> int:
    """Steps of the longest chain from any input to any output of a (closed) jaxpr."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return max(_depths(jaxpr, [0] * len(jaxpr.invars)), default=0)


def _depths(jaxpr: Any, inputs: list[int]) -> list[int]:
    """At which step each output is known, from when each input is."""
    known: dict[Any, int] = dict(zip(jaxpr.invars, inputs, strict=True))
    at = lambda atom: 0 if isinstance(atom, core.Literal) else known.get(atom, 0)  # noqa: E731
    for equation in jaxpr.eqns:
        known.update(zip(equation.outvars, _of_equation(equation, [at(v) for v in equation.invars]), strict=True))
    return [at(v) for v in jaxpr.outvars]


def _of_equation(equation: Any, inputs: list[int]) -> list[int]:
    name, start = equation.primitive.name, max(inputs, default=0)
    if name == "scan":
        return _of_scan(equation, inputs)
    inner = [program for value in equation.params.values() for program in programs(value)]
    if name in _LOGARITHMIC:
        size = equation.invars[0].aval.shape[equation.params.get("dimension", equation.params.get("axis", 0))]
        return [start + max(1, math.ceil(math.log2(max(size, 2))))] * len(equation.outvars)
    if not inner or name.startswith("reduce") or name == "scatter" or name.startswith("scatter"):
        return [start + 1] * len(equation.outvars)
    if len(inner) == 1 and len(inner[0].invars) == len(inputs):
        return _depths(inner[0], inputs)
    # Of branches, and of programs whose inputs are given otherwise, the longest, after all inputs.
    return [start + max(map(chain, inner))] * len(equation.outvars)


def _of_scan(equation: Any, inputs: list[int]) -> list[int]:
    """The first turn, and as often as there are further turns what the slowest carry waits for itself."""
    body, turns = equation.params["jaxpr"].jaxpr, equation.params["length"]
    # Versions of JAX name constants and carries otherwise; what is given or gathered turn by turn has an axis more outside.
    same = lambda outer, inner: [a.aval.shape == b.aval.shape for a, b in zip(outer, inner, strict=True)]  # noqa: E731
    carried = sum(same(equation.outvars, body.outvars))
    constants = sum(same(equation.invars, body.invars)) - carried
    first = _depths(body, inputs)
    given = list(inputs)
    given[constants : constants + carried] = first[:carried]
    second = _depths(body, given)
    # What a turn adds to the chain: how much later its carries are known than those that it was given.
    added = max((b - a for a, b in zip(first[:carried], second[:carried], strict=True)), default=0)
    return [step + added * (turns - 1) for step in second] if added else second
