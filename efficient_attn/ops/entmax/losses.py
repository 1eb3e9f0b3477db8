"""Fenchel-Young losses of alpha-entmax: cross-entropy (alpha = 1) for results that can be exactly 0.

    L(z, y) = H_alpha(p) + p . z - z_y,   p = entmax_alpha(z),   dL/dz = p - onehot(y)

L is 0 exactly where p puts everything on the label, which for alpha above 1 happens at finite scores: once the label leads
every other by ``1 / (alpha - 1)``.

References:
  Blondel, Martins and Niculae, "Learning with Fenchel-Young Losses", 2020.
  Peters, Niculae and Martins, "Sparse Sequence-to-Sequence Models", 2019, section 3.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.ops.entmax.mapping import entmax, working_type


def entmax_loss(logits: Float[Array, "*batch V"], labels: Int[Array, "*batch"], alpha: float) -> Float[Array, "*batch"]:
    """The loss of each row, not reduced.

    Args:
      logits: scores over ``V`` classes; minus infinity excludes a class.
      labels: the right class of each row, from 0 to ``V - 1``. Rows to be left out are weighted by the caller: no label is special.
      alpha: at least 1; fixed, the loss is not differentiable in it. 1 is the cross-entropy.

    Returns:
      Losses in float32 (or float64), at least 0.

    Raises:
      ValueError: if alpha is below 1 or the shapes do not match.

    Cost: O(size), the cost of ``entmax``.
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    if not 1 <= alpha < math.inf:
        raise ValueError(f"alpha must be a finite number of at least 1, got {alpha}")
    if logits.ndim == 0 or labels.shape != logits.shape[:-1]:
        raise ValueError(
            f"labels must have the logits' shape without its last axis, got {labels.shape} and {logits.shape}"
        )
    wide = logits.astype(working_type(logits))
    # Counted from the maximum: the loss does not change, and large scores do not cancel.
    wide = wide - jax.lax.stop_gradient(jnp.max(wide, axis=-1, keepdims=True))
    score = jnp.take_along_axis(wide, labels[..., None], axis=-1)[..., 0]
    return _conjugate(wide, float(alpha)) - score


def entmax15_loss(logits: Float[Array, "*batch V"], labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``entmax_loss`` at alpha = 1.5."""
    return entmax_loss(logits, labels, 1.5)


def sparsemax_loss(logits: Float[Array, "*batch V"], labels: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
    """``entmax_loss`` at alpha = 2."""
    return entmax_loss(logits, labels, 2.0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _conjugate(z: jax.Array, alpha: float) -> jax.Array:
    """``max_p p . z + H_alpha(p)``, whose gradient is the p that attains it."""
    p = entmax(z, alpha)
    log_p = jnp.log(jnp.where(p > 0, p, 1))
    c = alpha - 1
    surprise = -log_p if c == 0 else -jnp.expm1(c * log_p) / c
    return jnp.sum(p * (surprise / alpha + jnp.where(p > 0, z, 0)), axis=-1)


@_conjugate.defjvp
def _conjugate_jvp(alpha: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    (z,), (dz,) = primals, tangents
    return _conjugate(z, alpha), jnp.sum(entmax(z, alpha) * dz, axis=-1)
