"""Second moments of matrices as the outer product of two means, those of Adafactor.

A gradient ``g`` of ``[..., m, n]`` keeps ``rows [..., m]`` and ``columns [..., n]``, running means of ``g^2`` over the other of
the last two axes, and is divided by the root of ``rows * columns / mean(rows)``. The axes before the last two, of layers that
lie side by side and of experts, have moments of their own, so that these may lie on the devices that have the experts.

References:
  Shazeer, Stern, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost", 2018, algorithm 4.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

PyTree = Any


class FactoredMoments(NamedTuple):
    """Running means of squared gradients: each parameter has either ``rows`` and ``columns`` or ``whole``,
    and one zero in place of what it has not."""

    count: Int[Array, ""]
    rows: PyTree
    columns: PyTree
    whole: PyTree


class _Moments(NamedTuple):
    rows: Float[Array, "..."]
    columns: Float[Array, "..."]
    whole: Float[Array, "..."]


def scale_by_factored_moments(
    decay: Callable[[Int[Array, ""]], Float[Array, ""]], smallest: int, epsilon: float = 1e-30
) -> optax.GradientTransformation:
    """Divides gradients by the root of their second moments.

    Args:
      decay: the share of a running mean that stays, from the number of updates before.
      smallest: a matrix with a smaller side keeps its second moments whole.
      epsilon: added to every squared gradient.

    Cost: memory O(m + n) for a matrix of ``[m, n]``.
    """

    def empty(param: jax.Array) -> _Moments:
        absent = jnp.zeros((1,), param.dtype)
        if not _is_factored(param.shape, smallest):
            return _Moments(absent, absent, jnp.zeros_like(param))
        rows, columns = jnp.zeros(param.shape[:-1], param.dtype), jnp.zeros(without_rows(param.shape), param.dtype)
        return _Moments(rows, columns, absent)

    def init(params: PyTree) -> FactoredMoments:
        of = lambda name: jax.tree.map(lambda param: getattr(empty(param), name), params)  # noqa: E731
        return FactoredMoments(jnp.zeros((), jnp.int32), *(of(name) for name in _Moments._fields))

    def update(gradients: PyTree, state: FactoredMoments, params: PyTree = None) -> tuple[PyTree, FactoredMoments]:
        kept = decay(state.count)

        def moved(gradient: jax.Array, *before: jax.Array) -> _Moments:
            square = jnp.square(gradient) + epsilon
            mean = lambda old, new: (kept * old + (1.0 - kept) * new).astype(old.dtype)  # noqa: E731
            rows, columns, whole = before
            if not _is_factored(gradient.shape, smallest):
                return _Moments(rows, columns, mean(whole, square))
            return _Moments(mean(rows, square.mean(-1)), mean(columns, square.mean(-2)), whole)

        moments = jax.tree.map(moved, gradients, *state[1:])
        updates = jax.tree.map(lambda g, some: _scaled(g, some, _is_factored(g.shape, smallest)), gradients, moments)
        of = lambda name: jax.tree.map(lambda _, some: getattr(some, name), gradients, moments)  # noqa: E731
        return updates, FactoredMoments(optax.safe_increment(state.count), *(of(name) for name in _Moments._fields))

    return optax.GradientTransformation(init, update)


def without_rows(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    """The shape of ``columns``, from a parameter's."""
    return (*shape[:-2], shape[-1])


def _is_factored(shape: tuple[int, ...], smallest: int) -> bool:
    return len(shape) >= 2 and min(shape[-2:]) >= smallest


def _scaled(gradient: jax.Array, moments: _Moments, factored: bool) -> jax.Array:
    if not factored:
        return gradient * jax.lax.rsqrt(moments.whole)
    rows = moments.rows / moments.rows.mean(-1, keepdims=True)
    return gradient * jax.lax.rsqrt(rows)[..., None] * jax.lax.rsqrt(moments.columns)[..., None, :]
