"""Alpha-entmax: a softmax that can give exact zeros, differentiable in the scores and in alpha.

    entmax_alpha(z) = argmax_p  p . z + H_alpha(p) over the simplex,   H_alpha(p) = sum_j (p_j - p_j^alpha) / (alpha (alpha - 1))
                    = [1 + c (z - nu)]_+^(1 / c),   c = alpha - 1,   nu such that the sum is 1

alpha = 1 is the softmax (nu is the log-sum-exp), 1.5 is entmax15, 2 is sparsemax. Written with nu, not with a threshold on
``c z``, nothing cancels as alpha tends to 1: ``log p = log1p(c (z - nu)) / c``.

nu is found without sorting, by Newton's method on ``(F^c - 1) / c`` with ``F(nu) = sum_j p_j(nu)``. For alpha up to 2 that is
a norm of ``[1 + c (z - nu)]_+`` up to constants, hence convex: from ``nu = max z`` the steps only go up, one suffices for the
softmax and for equal scores, about six for drawn ones. Above 2 it is not convex, and every other step halves a bracket.

Gradients (Correia et al., equations 9 and 10; here in a form that does not divide by c), with ``s = p^(2 - alpha)`` on the
support and ``y = z - nu``:

    dz     = s (g - sum_j s_j g_j / sum_j s_j)
    dalpha = sum_i g_i (a_i - s_i sum_j a_j / sum_j s_j),   a_i = p_i y_i^2 phi(c y_i),   phi(t) = (t / (1 + t) - log1p(t)) / t^2

Both are functions of the result, which is all that is kept for the backward pass. Time O(steps * size), memory O(size).

Where we differ from released code: a row in which nothing is allowed gives 0, not NaN; alpha = 1 is defined; alpha below 1
uses the bracket that holds there, so that the result sums to 1.

References:
  Martins and Astudillo, "From Softmax to Sparsemax", 2016.
  Peters, Niculae and Martins, "Sparse Sequence-to-Sequence Models", 2019 (alpha-entmax, and its losses).
  Correia, Niculae and Martins, "Adaptively Sparse Transformers", 2019 (the gradient in alpha).
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Below this, alpha - 1 is treated as 0: quotients by it would leave the range of float32.
_SMALLEST = 1e-20
# Halving a bracket every other step reaches float32's last place in fewer; Newton's method alone in about 6.
_MOST_STEPS = 64
# Sums along rows keep this many running totals on a CPU: XLA vectorises across them, not along one.
_LANES = 32


def sparsemax(
    z: Float[Array, "*shape"], axis: int = -1, *, where: Bool[Array, "*mask"] | None = None
) -> Float[Array, "*shape"]:
    """Euclidean projection of scores onto the simplex: entmax with alpha = 2.

        p = [z - tau]_+,   tau such that the sum along ``axis`` is 1

    Args:
      z: scores.
      axis: the axis along which the results sum to 1.
      where: which entries take part, broadcastable to ``z``; the others, and those at minus infinity, get 0.

    Returns:
      Weights in the format of ``z``, computed in float32 (or float64). Where nothing takes part they are 0.

    Raises:
      ValueError: if ``z`` has no such axis or ``where`` does not broadcast to it.

    Cost: O(size), about 7 passes.
    """
    return entmax(z, 2.0, axis, where=where)


def entmax15(
    z: Float[Array, "*shape"], axis: int = -1, *, where: Bool[Array, "*mask"] | None = None
) -> Float[Array, "*shape"]:
    """Entmax with alpha = 1.5: ``p = [z / 2 - tau]_+^2``. Arguments, results and errors are those of ``sparsemax``."""
    return entmax(z, 1.5, axis, where=where)


def entmax(
    z: Float[Array, "*shape"],
    alpha: float | Float[Array, "*alphas"],
    axis: int = -1,
    *,
    where: Bool[Array, "*mask"] | None = None,
) -> Float[Array, "*shape"]:
    """Alpha-entmax along one axis, differentiable in ``z`` and, where it is an array, in ``alpha``.

    Args:
      z: scores.
      alpha: above 0; a number, or an array that broadcasts to ``z`` and has size 1 along ``axis``, such as ``[N, 1, 1]`` for
        scores ``[B, N, T, S]``. The numbers 1, 1.5 and 2 need no logarithms and are several times faster.
      axis: the axis along which the results sum to 1.
      where: which entries take part, broadcastable to ``z``; the others, and those at minus infinity, get 0.

    Returns:
      Weights in the format of ``z``, computed in float32 (or float64). Where nothing takes part they are 0.

    Raises:
      ValueError: if ``alpha`` is a number that is not above 0, or a shape does not broadcast.

    Cost: O(size): about 7 passes. The backward pass keeps the result only.
    """
    z = jnp.asarray(z)
    axis = _checked_axis(z, axis)
    if where is not None:
        _check_broadcasts("where", jnp.shape(where), z.shape)
        z = jnp.where(where, z, -jnp.inf)
    if isinstance(alpha, int | float):
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be a finite number above 0, got {alpha}")
        return jnp.moveaxis(_fixed(jnp.moveaxis(z, axis, -1), float(alpha) - 1), -1, axis)
    alpha = _per_row(jnp.asarray(alpha), z, axis)
    return jnp.moveaxis(_learned(jnp.moveaxis(z, axis, -1), alpha), -1, axis)


def _checked_axis(z: jax.Array, axis: int) -> int:
    if not -z.ndim <= axis < z.ndim:
        raise ValueError(f"axis {axis} is not one of the {z.ndim} axes of scores of shape {z.shape}")
    if not jnp.issubdtype(z.dtype, jnp.floating):
        raise ValueError(f"scores must be floating-point numbers, got {z.dtype}")
    if z.shape[axis] == 0:
        raise ValueError(f"scores must not be empty along axis {axis}, got shape {z.shape}")
    return axis % z.ndim


def _check_broadcasts(name: str, shape: tuple[int, ...], full: tuple[int, ...]) -> None:
    aligned = (1,) * (len(full) - len(shape)) + tuple(shape)
    if len(aligned) != len(full) or any(x not in (1, y) for x, y in zip(aligned, full, strict=True)):
        raise ValueError(f"{name} must broadcast to the scores' shape {full}, got shape {tuple(shape)}")


def _per_row(alpha: jax.Array, z: jax.Array, axis: int) -> jax.Array:
    """Alpha once for every row: the shape of ``z`` with its axis moved last and of size 1."""
    rows = (*z.shape[:axis], 1, *z.shape[axis + 1 :])
    aligned = (1,) * (z.ndim - alpha.ndim) + alpha.shape
    if len(aligned) != z.ndim or any(x not in (1, y) for x, y in zip(aligned, rows, strict=True)):
        raise ValueError(
            f"alpha must broadcast to {rows}, the scores' shape with size 1 along axis {axis}, got shape {alpha.shape}"
        )
    return jnp.moveaxis(jnp.broadcast_to(alpha.reshape(aligned).astype(working_type(z)), rows), axis, -1)


def working_type(z: jax.Array) -> np.dtype:
    """float32, or the format of ``z`` where that is wider."""
    return jnp.promote_types(z.dtype, jnp.float32)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _fixed_rule(z: jax.Array, c: float) -> jax.Array:
    """Entmax along the last axis for a number ``c = alpha - 1``."""
    return _solve(z, c)


def _fixed_forward(z: jax.Array, c: float) -> tuple[jax.Array, jax.Array]:
    # Through the rule itself, so that a second derivative meets the rule and not the loop.
    p = _fixed_rule(z, c)
    return p, p


def _fixed_backward(c: float, p: jax.Array, g: jax.Array) -> tuple[jax.Array]:
    wide, g = p.astype(working_type(p)), g.astype(working_type(p))
    s = _slope(wide, c)
    return ((s * (g - _mean_under(s, g))).astype(p.dtype),)


_fixed_rule.defvjp(_fixed_forward, _fixed_backward)
_fixed = jax.jit(_fixed_rule, static_argnums=1)


@jax.custom_vjp
def _learned_rule(z: jax.Array, alpha: jax.Array) -> jax.Array:
    """Entmax along the last axis for ``alpha`` of size 1 there."""
    return _solve(z, alpha - 1)


def _learned_forward(z: jax.Array, alpha: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    p = _learned_rule(z, alpha)
    return p, (p, alpha)


def _learned_backward(kept: tuple[jax.Array, jax.Array], g: jax.Array) -> tuple[jax.Array, jax.Array]:
    p, alpha = kept
    wide, g, c = p.astype(working_type(p)), g.astype(working_type(p)), alpha - 1
    s = _slope(wide, c)
    centred = g - _mean_under(s, g)
    # The mean under s leaves both gradients the same way, since s^T (g - mean) = 0.
    dalpha, _ = _row_sums(_pull(wide, c) * centred, s)
    return (s * centred).astype(p.dtype), dalpha


_learned_rule.defvjp(_learned_forward, _learned_backward)
_learned = jax.jit(_learned_rule)


def _mean_under(s: jax.Array, g: jax.Array) -> jax.Array:
    products, total = _row_sums(s * g, s)
    return products / _or_one(total)


def _or_one(total: jax.Array) -> jax.Array:
    """A divisor that is 0 only for an empty row, whose numerators are 0 as well."""
    return jnp.where(total == 0, 1, total)


def _slope(p: jax.Array, c: float | jax.Array) -> jax.Array:
    """``p^(1 - c)`` on the support and 0 elsewhere, alpha = 2 included."""
    if isinstance(c, float) and c in (0.0, 0.5, 1.0):
        return {0.0: lambda: p, 0.5: lambda: jnp.sqrt(p), 1.0: lambda: (p > 0).astype(p.dtype)}[c]()
    return jnp.where(p > 0, jnp.exp((1 - c) * _log(p)), 0)


def _log(p: jax.Array) -> jax.Array:
    return jnp.log(jnp.where(p > 0, p, 1))


def _pull(p: jax.Array, c: jax.Array) -> jax.Array:
    """Derivative of ``p`` in alpha while nu stands still: ``p y^2 phi(c y)``, by its series where phi would cancel."""
    log_p = _log(p)
    t = jnp.expm1(c * log_p)
    y = jnp.where(jnp.abs(c) < _SMALLEST, log_p, t / _nonzero(c))
    near = jnp.abs(t) < 0.15
    small = jnp.where(near, t, 0)
    series = jnp.zeros_like(small)
    for k in reversed(range(10)):
        series = series * small + (-1) ** (k + 1) * (k + 1) / (k + 2)
    far = p * (jnp.exp(-c * log_p) * y - log_p) / _nonzero(c)
    return jnp.where(p > 0, jnp.where(near, p * y * y * series, far), 0)


def _nonzero(c: jax.Array) -> jax.Array:
    return jnp.where(jnp.abs(c) < _SMALLEST, 1, c)


def _solve(z: jax.Array, c: float | jax.Array) -> jax.Array:
    """The weights along the last axis: Newton's method on nu, in units of the scores and counted from their maximum."""
    wide = z.astype(working_type(z))
    peak = jnp.max(wide, axis=-1, keepdims=True)
    below = wide - jnp.where(jnp.isneginf(peak), 0, peak)
    tolerance = 16 * jnp.finfo(wide.dtype).eps
    highest = jnp.broadcast_to(_log_c(jnp.asarray(z.shape[-1], wide.dtype), -jnp.asarray(c, wide.dtype)), peak.shape)

    def unfinished(state: tuple[jax.Array, ...]) -> jax.Array:
        step, _, _, _, going = state
        return going & (step < _MOST_STEPS)

    def improve(state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        step, nu, low, high, _ = state
        total, slope = _row_sums(*_weights(below - nu, c))
        low, high = jnp.where(total >= 1, nu, low), jnp.where(total < 1, nu, high)
        newton = nu + _newton_step(total, slope, c)
        off = (jnp.abs(total - 1) > tolerance) & (total > 0) & (high - low > tolerance * high)
        halve = off & ((newton < low) | (newton > high) | ((jnp.asarray(c) > 1) & (step % 2 == 1)))
        nu = jnp.where(halve, 0.5 * (low + high), jnp.where(total > 0, newton, nu))
        return step + 1, nu, low, high, jnp.any(off)

    start = (jnp.zeros((), jnp.int32), jnp.zeros_like(peak), jnp.zeros_like(peak), highest, jnp.asarray(True))
    nu = jax.lax.while_loop(unfinished, improve, start)[1]
    return _weights(below - nu, c)[0].astype(z.dtype)


def _newton_step(total: jax.Array, slope: jax.Array, c: float | jax.Array) -> jax.Array:
    """Minus ``(F^c - 1) / c`` over its derivative, ``F^(c - 1)`` times minus the sum of slopes."""
    log_total = jnp.log(_or_one(total))
    return _log_c(_or_one(total), c) * jnp.exp((1 - c) * log_total) / _or_one(slope)


def _log_c(x: jax.Array, c: float | jax.Array) -> jax.Array:
    """``(x^c - 1) / c``, and ``log x`` at 0."""
    c = jnp.asarray(c, x.dtype)
    return jnp.where(jnp.abs(c) < _SMALLEST, jnp.log(x), jnp.expm1(c * jnp.log(x)) / _nonzero(c))


def _weights(y: jax.Array, c: float | jax.Array) -> tuple[jax.Array, jax.Array]:
    """``p = [1 + c y]_+^(1 / c)`` and its slope in y, ``p^(1 - c)``."""
    if isinstance(c, float) and c in (0.0, 0.5, 1.0):
        u = jnp.exp(y) if c == 0 else jnp.maximum(1 + c * y, 0)
        return {0.0: lambda: (u, u), 0.5: lambda: (u * u, u), 1.0: lambda: (u, (u > 0).astype(u.dtype))}[c]()
    c = jnp.asarray(c, y.dtype)
    u = 1 + c * y
    inside = u > 0
    log_p = jnp.where(jnp.abs(c) < _SMALLEST, y, jnp.log1p(jnp.where(inside, c * y, 0)) / _nonzero(c))
    p = jnp.where(inside | (c == 0), jnp.exp(log_p), 0)
    return p, jnp.where(inside, p / jnp.where(inside, u, 1), 0)


def _row_sums(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of two arrays along their last axis, in one pass over what both are computed from."""
    return jax.lax.platform_dependent(first, second, cpu=_row_sums_in_lanes, default=_row_sums_plainly)


def _row_sums_plainly(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    return first.sum(-1, keepdims=True), second.sum(-1, keepdims=True)


def _row_sums_in_lanes(first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    whole = first.shape[-1] // _LANES * _LANES
    tails = _row_sums_plainly(first[..., whole:], second[..., whole:])
    if not whole:
        return tails
    heads = tuple(x[..., :whole].reshape(*x.shape[:-1], whole // _LANES, _LANES) for x in (first, second))
    zero = jnp.zeros((), first.dtype)
    lanes = jax.lax.reduce(heads, (zero, zero), lambda x, y: (x[0] + y[0], x[1] + y[1]), (first.ndim - 1,))
    return lanes[0].sum(-1, keepdims=True) + tails[0], lanes[1].sum(-1, keepdims=True) + tails[1]
