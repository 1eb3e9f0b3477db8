"""The bistable recurrent cell (BRC) and its neuromodulated form (nBRC), as loops over time.

    a_t = 1 + tanh(x_t U_a + R_a(h) + b_a)            feedback, in (0, 2)
    c_t = sigmoid(x_t U_c + R_c(h) + b_c)             share of the old state that stays
    h_t = c_t h + (1 - c_t) tanh(x_t U_h + a_t h),    h = h_{t-1}

BRC: ``R(h) = w * h``, so each unit remembers alone. nBRC: ``R(h) = h W``, so units set each other's feedback. Where ``a_t > 1`` a
unit has two stable states around zero drive. The candidate has neither a matrix of its own nor a bias in either cell.

The products with ``x_t`` stand outside the loop. The backward pass keeps nothing but ``h``: gates and their derivatives are
recomputed for all times at once, so that its loop is a linear recurrence, and each parameter's gradient is one product after it.
Time O(T B (I H + H)) for BRC and O(T B (I H + H^2)) for nBRC, memory O(T B H); a loop of T dependent steps forward and backward.

The biases are the released code's; the paper's equations have none. The state keeps at least float32, since small errors of a
remembered value add up.

Reference:
  Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021, equations 3 to 8.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Steps of a loop that are compiled as one: their small programs cost more to start than to run.
UNROLL = 4

Pair = tuple[jax.Array, jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Bistable:
    """Parameters of one layer of BRC (``recurrent_*`` are vectors) or nBRC (they are matrices, applied as ``h W``)."""

    input_a: Float[Array, "I H"]
    input_c: Float[Array, "I H"]
    input_h: Float[Array, "I H"]
    recurrent_a: Float[Array, " H"] | Float[Array, "H H"]
    recurrent_c: Float[Array, " H"] | Float[Array, "H H"]
    bias_a: Float[Array, " H"] | None = None
    bias_c: Float[Array, " H"] | None = None


def brc(
    inputs: Float[Array, "B T I"], parameters: Bistable, initial_state: Float[Array, "B H"] | None = None
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """The bistable recurrent cell over a sequence.

    Args:
      inputs: the sequence.
      parameters: with vectors ``recurrent_a`` and ``recurrent_c``.
      initial_state: the state before the first step; None: zeros.

    Returns:
      The state after each step, and after the last.

    Raises:
      ValueError: if shapes do not fit.

    Cost: T dependent elementwise steps; memory O(B T H).
    """
    check_bistable(inputs, parameters, initial_state, recurrent_axes=1)
    return _over_time(DIAGONAL, inputs, parameters, initial_state)


def nbrc(
    inputs: Float[Array, "B T I"], parameters: Bistable, initial_state: Float[Array, "B H"] | None = None
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """The neuromodulated bistable recurrent cell over a sequence; as ``brc``, with matrices ``recurrent_a`` and ``recurrent_c``.

    Cost: T dependent products of ``[B, H]`` and ``[H, 2 H]``; memory O(B T H).
    """
    check_bistable(inputs, parameters, initial_state, recurrent_axes=2)
    return _over_time(_DENSE, inputs, parameters, initial_state)


class Coupling(NamedTuple):
    """How the state reaches the gates; ``weights`` are those of a and c, side by side."""

    forward: Callable[[jax.Array, jax.Array], jax.Array]
    """From state ``[..., H]`` and weights to what is added to both gates ``[..., 2 H]``."""
    back: Callable[["Slopes", jax.Array], tuple[Any, Callable[[jax.Array, Any], jax.Array]]]
    """From slopes and weights to what the loop backward reads at each time, and its step from a later gradient to an earlier."""
    gradient: Callable[[jax.Array, jax.Array], jax.Array]
    """From states and gradients of both gates, at all times, to the gradient of the weights."""


class Slopes(NamedTuple):
    """Derivatives of a new state, at all times."""

    state: jax.Array
    """By the old state, at fixed gates: ``[T, B, H]``."""
    gates: jax.Array
    """By the arguments of tanh in ``a`` and of the sigmoid in ``c``: ``[T, B, 2 H]``."""
    candidate: jax.Array
    """By the candidate's input: ``[T, B, H]``."""


def step(projected: Float[Array, "... 3*H"], fed_back: Float[Array, "... 2*H"], state: Float[Array, "... H"]):
    """The new state from the products with the input (a, c, h), those with the state (a, c), and the state."""
    _, c, candidate = _gates(projected, fed_back, state)
    return c * state + (1.0 - c) * candidate


def project(inputs: Float[Array, "B T I"], parameters: Bistable) -> Float[Array, "T B 3*H"]:
    """The products with the input for a, c and h, biases included, for all times at once, at least float32."""
    p, hidden = parameters, parameters.input_a.shape[1]
    weights = jnp.concatenate([p.input_a, p.input_c, p.input_h], axis=1)
    zeros = jnp.zeros((hidden,), weights.dtype)
    bias = jnp.concatenate([zeros if b is None else b for b in (p.bias_a, p.bias_c, None)])
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    products = jnp.einsum("bti,ig->tbg", inputs, weights.astype(inputs.dtype), preferred_element_type=wide)
    return products + bias.astype(wide)


def slopes(projected: jax.Array, fed_back: jax.Array, before: jax.Array) -> Slopes:
    """Derivatives of every new state from the states ``before`` them."""
    a, c, candidate = _gates(projected, fed_back, before)
    by_candidate = (1.0 - c) * (1.0 - candidate**2)
    # The derivative of tanh is 1 - (a - 1)^2.
    by_a = by_candidate * before * a * (2.0 - a)
    by_c = (before - candidate) * c * (1.0 - c)
    return Slopes(c + by_candidate * a, jnp.concatenate([by_a, by_c], axis=-1), by_candidate)


def _gates(projected: jax.Array, fed_back: jax.Array, state: jax.Array):
    gates, drive = projected[..., : fed_back.shape[-1]] + fed_back, projected[..., fed_back.shape[-1] :]
    a, c = jnp.split(gates, 2, axis=-1)
    a, c = 1.0 + jnp.tanh(a), jax.nn.sigmoid(c)
    return a, c, jnp.tanh(drive + a * state)


def diagonal_jacobian(found: Slopes, weights: jax.Array) -> jax.Array:
    """BRC's derivative of each new state by the one before it, which is a diagonal: ``[T, B, H]``."""
    by_a, by_c = jnp.split(found.gates, 2, axis=-1)
    weight_a, weight_c = jnp.split(weights, 2)
    return found.state + by_a * weight_a + by_c * weight_c


def _dense_back(found: Slopes, weights: jax.Array):
    def back(later: jax.Array, now: Pair) -> jax.Array:
        return later * now[0] + (jnp.tile(later, 2) * now[1]) @ weights.T

    return (found.state, found.gates), back


DIAGONAL = Coupling(
    forward=lambda state, weights: jnp.tile(state, 2) * weights,
    back=lambda found, weights: (diagonal_jacobian(found, weights), jnp.multiply),
    gradient=lambda before, gates: jnp.einsum("tbg,tbg->g", jnp.tile(before, 2), gates),
)
_DENSE = Coupling(
    forward=lambda state, weights: state @ weights,
    back=_dense_back,
    gradient=lambda before, gates: jnp.einsum("tbh,tbg->hg", before, gates),
)


def _over_time(coupling: Coupling, inputs: jax.Array, parameters: Bistable, initial: jax.Array | None):
    projected = project(inputs, parameters)
    weights = jnp.concatenate([parameters.recurrent_a, parameters.recurrent_c], axis=-1).astype(projected.dtype)
    state = start(projected, initial)
    states = _loop(coupling, projected, weights, state)
    last = states[-1] if states.shape[0] else state
    return jnp.swapaxes(states, 0, 1), last


def start(projected: Float[Array, "T B 3*H"], initial: jax.Array | None) -> Float[Array, "B H"]:
    """The state before the first step."""
    _, batch, gates = projected.shape
    return jnp.zeros((batch, gates // 3), projected.dtype) if initial is None else initial.astype(projected.dtype)


def forward(coupling: Coupling, projected: jax.Array, weights: jax.Array, initial: jax.Array) -> jax.Array:
    def one(state: jax.Array, now: jax.Array) -> Pair:
        state = step(now, coupling.forward(state, weights), state)
        return state, state

    return jax.lax.scan(one, initial, projected, unroll=UNROLL)[1]


def backward(coupling: Coupling, kept: tuple[jax.Array, ...], cotangents: jax.Array) -> tuple[jax.Array, ...]:
    projected, weights, initial, states = kept
    before = jnp.concatenate([initial[None], states[:-1]])[: states.shape[0]]
    found = slopes(projected, coupling.forward(before, weights), before)
    read, back = coupling.back(found, weights)

    def one(earlier: jax.Array, now: tuple[jax.Array, Any]) -> Pair:
        total = earlier + now[0]
        return back(total, now[1]), total

    first, totals = jax.lax.scan(one, jnp.zeros_like(initial), (cotangents, read), reverse=True, unroll=UNROLL)
    of_gates = jnp.tile(totals, 2) * found.gates
    of_projected = jnp.concatenate([of_gates, totals * found.candidate], axis=-1)
    return of_projected, coupling.gradient(before, of_gates), first


_loop = jax.custom_vjp(forward, nondiff_argnums=(0,))
_loop.defvjp(
    lambda coupling, *arrays: (lambda states: (states, (*arrays, states)))(forward(coupling, *arrays)), backward
)


def check_bistable(inputs: jax.Array, parameters: Bistable, initial: jax.Array | None, recurrent_axes: int) -> None:
    (batch, _, size), hidden = inputs.shape, parameters.input_a.shape[1]
    inward, recurrent, state = (size, hidden), (hidden,) * recurrent_axes, (batch, hidden)
    check_shapes(
        parameters, input_a=inward, input_c=inward, input_h=inward, recurrent_a=recurrent, recurrent_c=recurrent
    )
    check_shapes(parameters, bias_a=(hidden,), bias_c=(hidden,))
    check_state(initial, state)


def check_shapes(parameters: Any, **expected: tuple[int, ...]) -> None:
    """A ValueError if a field that is not None has another shape."""
    for name, shape in expected.items():
        found = getattr(parameters, name)
        if found is not None and found.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {found.shape}")


def check_state(initial: jax.Array | None, expected: tuple[int, ...]) -> None:
    """A ValueError if an initial state has another shape."""
    if initial is not None and initial.shape != expected:
        raise ValueError(f"initial_state must have shape {expected}, got {initial.shape}")
