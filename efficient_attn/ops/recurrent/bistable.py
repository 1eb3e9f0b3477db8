"""The bistable recurrent cell (BRC) and its neuromodulated form (nBRC), as loops over time.

    a_t = 1 + tanh(x_t U_a + R_a(h) + b_a)            feedback, in (0, 2)
    c_t = sigmoid(x_t U_c + R_c(h) + b_c)             share of the old state that stays
    h_t = c_t h + (1 - c_t) tanh(x_t U_h + a_t h),    h = h_{t-1}

BRC: ``R(h) = w * h``, so each unit remembers alone. nBRC: ``R(h) = h W``, so units set each other's feedback. Where ``a_t > 1`` a
unit has two stable states around zero drive. The candidate has neither a matrix of its own nor a bias in either cell.

The products with ``x_t`` stand outside the loop, and so do those that make gradients of parameters: backward, the loop is a
linear recurrence over the gates that the forward pass kept.
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

# Arrays of a, c and h; of a and c. They stay apart: slices of one array would keep a CPU's loops from vector instructions.
Three = tuple[jax.Array, jax.Array, jax.Array]
Two = tuple[jax.Array, jax.Array]


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
    """How the state reaches the gates a and c, through the weights of each."""

    forward: Callable[[jax.Array, jax.Array], jax.Array]
    """From state ``[..., H]`` and weights to what is added to a gate ``[..., H]``."""
    back: Callable[[jax.Array, jax.Array], jax.Array]
    """From the gradient of that and weights to the gradient of the state."""
    gradient: Callable[[jax.Array, jax.Array], jax.Array]
    """From states and gradients of a gate, at all times, to the gradient of its weights."""


class Slopes(NamedTuple):
    """Derivatives of a new state."""

    state: jax.Array
    """By the old state, at fixed gates."""
    a: jax.Array
    """By the argument of ``a``'s tanh."""
    c: jax.Array
    """By the argument of ``c``'s sigmoid."""
    candidate: jax.Array
    """By the candidate's product with the input."""


def gates_of(projected: Three, fed_back: Two, state: Float[Array, "*T B H"]) -> Three:
    """a, c and the candidate from the products with the input, those with the state, and the state."""
    a = 1.0 + jnp.tanh(projected[0] + fed_back[0])
    c = jax.nn.sigmoid(projected[1] + fed_back[1])
    return a, c, jnp.tanh(projected[2] + a * state)


def mix(gates: Three, state: Float[Array, "*T B H"]) -> Float[Array, "*T B H"]:
    """The new state from gates and the state before."""
    _, c, candidate = gates
    return c * state + (1.0 - c) * candidate


def project(inputs: Float[Array, "B T I"], parameters: Bistable) -> Three:
    """The products with the input for a, c and h, biases included, for all times: ``[T, B, H]`` each, at least float32."""
    p = parameters
    a, c, h = multiply(inputs, (p.input_a, p.bias_a), (p.input_c, p.bias_c), (p.input_h, None))
    return a, c, h


def multiply(inputs: Float[Array, "B T I"], *affine: tuple[jax.Array, jax.Array | None]) -> tuple[jax.Array, ...]:
    """Products of all times' inputs with weights, and biases added: ``[T, B, H]`` each, at least float32."""
    batch, time, size = inputs.shape
    wide = jnp.promote_types(inputs.dtype, jnp.float32)
    # As plain matrices, since a CPU is several times slower at products over two axes, forward and backward.
    rows = jnp.swapaxes(inputs, 0, 1).reshape(time * batch, size)

    def product(weights: jax.Array, bias: jax.Array | None) -> jax.Array:
        result = jnp.matmul(rows, weights.astype(rows.dtype), preferred_element_type=wide)
        result = result.reshape(time, batch, weights.shape[1])
        return result if bias is None else result + bias.astype(wide)

    return tuple(product(*pair) for pair in affine)


def slopes(gates: Three, before: Float[Array, "*T B H"]) -> Slopes:
    """Derivatives of the new state from its gates and the state ``before``."""
    a, c, candidate = gates
    by_candidate = (1.0 - c) * (1.0 - candidate**2)
    # The derivative of tanh is 1 - (a - 1)^2.
    by_a = by_candidate * before * a * (2.0 - a)
    return Slopes(c + by_candidate * a, by_a, (before - candidate) * c * (1.0 - c), by_candidate)


def feed_back(coupling: Coupling, weights: Two, state: Float[Array, "*T B H"]) -> Two:
    """What the state adds to both gates."""
    return coupling.forward(state, weights[0]), coupling.forward(state, weights[1])


DIAGONAL = Coupling(
    forward=jnp.multiply,
    back=jnp.multiply,
    gradient=lambda before, gate: (before * gate).sum((0, 1)),
)
_DENSE = Coupling(
    forward=jnp.matmul,
    back=lambda gate, weights: gate @ weights.T,
    gradient=lambda before, gate: before.reshape(-1, before.shape[-1]).T @ gate.reshape(-1, gate.shape[-1]),
)


def prepare(inputs: jax.Array, parameters: Bistable, initial: jax.Array | None) -> tuple[Three, Two, jax.Array]:
    """Products with the input, weights, and the state before the first step."""
    projected = project(inputs, parameters)
    dtype = projected[0].dtype
    weights = parameters.recurrent_a.astype(dtype), parameters.recurrent_c.astype(dtype)
    state = jnp.zeros(projected[0].shape[1:], dtype) if initial is None else initial.astype(dtype)
    return projected, weights, state


def finish(states: Float[Array, "T B H"], initial: Float[Array, "B H"]) -> tuple[jax.Array, jax.Array]:
    """The states by batch row, and the last."""
    return jnp.swapaxes(states, 0, 1), states[-1] if states.shape[0] else initial


def _over_time(coupling: Coupling, inputs: jax.Array, parameters: Bistable, initial: jax.Array | None):
    projected, weights, state = prepare(inputs, parameters, initial)
    return finish(_loop(coupling, projected, weights, state), state)


def forward(coupling: Coupling, projected: Three, weights: Two, initial: jax.Array) -> Float[Array, "T B H"]:
    """All states, by the loop over time."""

    def one(state: jax.Array, now: Three) -> tuple[jax.Array, jax.Array]:
        state = mix(gates_of(now, feed_back(coupling, weights, state), state), state)
        return state, state

    return jax.lax.scan(one, initial, projected)[1]


def _forward(coupling: Coupling, projected: Three, weights: Two, initial: jax.Array) -> tuple[jax.Array, Three]:
    """All states and all gates, which take the places of the products that they are made of: new arrays, each filled with zeros
    first, would cost as much as the gates."""

    def one(carried: tuple[jax.Array, Three], time: jax.Array) -> tuple[tuple[jax.Array, Three], jax.Array]:
        state, (a, c, h) = carried
        now = _at(a, time), _at(c, time), _at(h, time)
        gates = gates_of(now, feed_back(coupling, weights, state), state)
        state = mix(gates, state)
        placed = [jax.lax.dynamic_update_index_in_dim(x, g, time, 0) for x, g in zip((a, c, h), gates, strict=True)]
        return (state, tuple(placed)), state

    steps = projected[0].shape[0]
    # The body would not trace with nothing to take from.
    if not steps:
        return projected[0], projected
    (_, gates), states = jax.lax.scan(one, (initial, projected), jnp.arange(steps))
    return states, gates


def _at(x: Float[Array, "T B H"], time: jax.Array) -> Float[Array, "B H"]:
    return jax.lax.dynamic_index_in_dim(x, time, 0, keepdims=False)


def backward(
    coupling: Coupling, kept: tuple[Three, Two, jax.Array], cotangents: jax.Array
) -> tuple[Three, Two, jax.Array]:
    """Gradients of the products with the input, the weights and the initial state, from those of all states.

    Args:
      coupling: the cell's.
      kept: gates of all times, weights, and the state before each time.
      cotangents: gradients of all states, by what reads them.
    """
    gates, weights, before = kept

    def one(later: jax.Array, now: tuple[jax.Array, Three, jax.Array]) -> tuple[jax.Array, Three]:
        cotangent, gates, before = now
        total, by = later + cotangent, slopes(gates, before)
        of_a, of_c = total * by.a, total * by.c
        earlier = total * by.state + coupling.back(of_a, weights[0]) + coupling.back(of_c, weights[1])
        return earlier, (of_a, of_c, total * by.candidate)

    first, found = jax.lax.scan(
        one, jnp.zeros(before.shape[1:], before.dtype), (cotangents, gates, before), reverse=True
    )
    return found, (coupling.gradient(before, found[0]), coupling.gradient(before, found[1])), first


def shift(initial: Float[Array, "B H"], states: Float[Array, "T B H"]) -> Float[Array, "T B H"]:
    """The state before each step."""
    return jnp.concatenate([initial[None], states])[:-1]


def _kept(coupling: Coupling, projected: Three, weights: Two, initial: jax.Array):
    states, gates = _forward(coupling, projected, weights, initial)
    return states, (gates, weights, shift(initial, states))


_loop = jax.custom_vjp(forward, nondiff_argnums=(0,))
_loop.defvjp(_kept, backward)


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
