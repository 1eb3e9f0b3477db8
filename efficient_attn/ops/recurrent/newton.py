"""The bistable recurrent cell solved for all times at once: Newton's method, whose linear step is an associative scan.

All states are unknowns of ``h_t = f_t(h_{t-1})``. Newton linearises around a guess, and since BRC's Jacobian ``J_t`` is a diagonal,
the correction is the linear recurrence ``h_t = f_t(g_{t-1}) + J_t (h_{t-1} - g_{t-1})``: O(log T) dependent steps, not T. After
iteration k the first k states are exact, so T iterations always suffice, but a few dozen are usual.

Bistable units amplify: iterates may leave the range of numbers. True states lie where the convex step
``c h + (1 - c) tanh(.)`` can bring them, in ``[-m, m]`` with ``m = max(1, |h_0|)``, so every iterate is put back into it, and
``|J| <= 1`` in the first iterations. The solution is taken if the last correction is small and the rounding of single steps, as
amplified by the ``|J_t|`` between, is too; otherwise the loop over time is run instead, inside the program. Time O(K T B H) for K
iterations, memory O(T B H).

References:
  Lim et al., "Parallelizing non-linear sequential models over the sequence length", 2024, section 3.
  Gonzalez et al., "Towards Scalable and Stable Parallelization of Nonlinear RNNs", 2024, section 4.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.ops.recurrent.bistable import (
    DIAGONAL,
    Bistable,
    Three,
    Two,
    backward,
    check_bistable,
    feed_back,
    finish,
    forward,
    gates_of,
    mix,
    prepare,
    shift,
    slopes,
)

# Iterations whose Jacobian is kept from amplifying: enough for guesses to come near the states (8 and 32 do as well).
_CAUTIOUS = 16
# A correction is as large as the error before it, and Newton's next error about its square.
_TOLERANCE = 1e-6
# How far rounding may carry the solution from the loop's.
_ACCURACY = 1e-5


def brc_newton(
    inputs: Float[Array, "B T I"],
    parameters: Bistable,
    initial_state: Float[Array, "B H"] | None = None,
    *,
    iterations: int = 64,
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """``brc``, in parallel over time where Newton's method converges, and by the loop where it does not.

    Args:
      inputs: the sequence.
      parameters: with vectors ``recurrent_a`` and ``recurrent_c``.
      initial_state: the state before the first step; None: zeros.
      iterations: after which the loop is run instead.

    Returns:
      The state after each step, and after the last; within 1e-5 of ``brc``.

    Raises:
      ValueError: if shapes do not fit, or ``iterations`` is below 1.
    """
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1, got {iterations}")
    check_bistable(inputs, parameters, initial_state, recurrent_axes=1)
    projected, weights, state = prepare(inputs, parameters, initial_state)
    return finish(_solve(iterations, projected, weights, state), state)


def newton(iterations: int, projected: Three, weights: Two, initial: jax.Array):
    """States ``[T, B, H]`` by Newton's method, the number of iterations, and the greatest of the last corrections."""
    reach = jnp.maximum(1.0, jnp.abs(initial))

    def improve(carry: tuple[jax.Array, jax.Array, jax.Array]):
        guess, count, _ = carry
        before, jacobian, after = _linearised(projected, weights, initial, guess)
        jacobian = jnp.where(count < _CAUTIOUS, jnp.clip(jacobian, -1.0, 1.0), jacobian)
        solved = _linear(jacobian, after - jacobian * before, initial)
        # What overflowed is a bad guess like any other: zero is as good, and NaN would stay.
        solved = jnp.clip(jnp.nan_to_num(solved, nan=0.0), -reach, reach)
        return solved, count + 1, jnp.max(jnp.abs(solved - guess), initial=0.0)

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return (carry[1] < iterations) & (carry[2] > _TOLERANCE)

    guess = jnp.zeros((projected[0].shape[0], *initial.shape), initial.dtype)
    return jax.lax.while_loop(unfinished, improve, (guess, jnp.asarray(0), jnp.asarray(jnp.inf, initial.dtype)))


def _linearised(projected: Three, weights: Two, initial: jax.Array, states: jax.Array):
    """States before each step, its Jacobian there, which is a diagonal, and what it makes of them."""
    before = shift(initial, states)
    gates = gates_of(projected, feed_back(DIAGONAL, weights, before), before)
    by = slopes(gates, before)
    return before, by.state + by.a * weights[0] + by.c * weights[1], mix(gates, before)


def _rounding(jacobian: jax.Array, initial: jax.Array) -> jax.Array:
    """The greatest deviation of a state, where each step adds a rounding of its own, half a unit, and passes on earlier ones."""
    variance = jnp.full_like(jacobian, float(jnp.finfo(jacobian.dtype).eps / 2) ** 2)
    return jnp.sqrt(jnp.max(_linear(jacobian**2, variance, jnp.zeros_like(initial)), initial=0.0))


def _linear(factors: jax.Array, offsets: jax.Array, initial: jax.Array) -> jax.Array:
    """``h_t = factors_t h_{t-1} + offsets_t`` for all t."""

    def join(earlier: tuple[jax.Array, jax.Array], later: tuple[jax.Array, jax.Array]):
        return earlier[0] * later[0], later[0] * earlier[1] + later[1]

    products, sums = jax.lax.associative_scan(join, (factors, offsets))
    return products * initial + sums


def _states(iterations: int, projected: Three, weights: Two, initial: jax.Array) -> jax.Array:
    solved, _, correction = newton(iterations, projected, weights, initial)
    jacobian = _linearised(projected, weights, initial, solved)[1]
    good = (correction <= _TOLERANCE) & (_rounding(jacobian, initial) <= _ACCURACY)
    return jax.lax.cond(good, lambda: solved, lambda: forward(DIAGONAL, projected, weights, initial))


def _kept(iterations: int, projected: Three, weights: Two, initial: jax.Array):
    states = _states(iterations, projected, weights, initial)
    before = shift(initial, states)
    return states, (gates_of(projected, feed_back(DIAGONAL, weights, before), before), weights, before)


_solve = jax.custom_vjp(_states, nondiff_argnums=(0,))
_solve.defvjp(_kept, lambda iterations, kept, cotangents: backward(DIAGONAL, kept, cotangents))
