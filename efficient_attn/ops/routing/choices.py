"""Which experts each token asks for, and with what weights.

Top-2: ``p = softmax(logits)``, the two largest, ``g_k = p_k / (p_1 + p_2 + 1e-9)`` before any is dropped, so a token that loses a
choice keeps the other's partial weight. Auxiliary loss of a group, before capacity and from first choices only,

    E sum_e mean_s(first choice is e) mean_s(p_e),

1 where routing is even; the paper's formula lacks the factor ``E ** 2``, which released code has. Its gradient flows through ``p``.

Where we differ from released code: a second choice is never the first one, even where all other probabilities underflow to 0.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


class Choices(NamedTuple):
    """What the tokens of each group ask for."""

    expert: Int[Array, "G S k"]
    """Expert of each choice, first choices first."""
    gate: Float[Array, "G S k"]
    """Weight of its result, float32."""
    wanted: Bool[Array, "G S k"]
    """False of padding, and of a second choice that was drawn away."""
    auxiliary: Float[Array, " G"]
    """Auxiliary loss of each group."""


def top2(
    logits: Float[Array, "G S E"],
    *,
    valid: Bool[Array, "G S"] | None = None,
    key: PRNGKeyArray | None = None,
    threshold: float = 0.5,
) -> Choices:
    """GShard's two choices per token.

    Args:
      logits: of the router; they are taken in float32.
      valid: False of padding, which asks for nothing and counts in no loss. A mean over a group divides by ``S`` all the same.
      key: of the random second choice, which stays with probability ``min(1, g_2 / threshold)``; None keeps all.
      threshold: 0.5 in the paper.

    Raises:
      ValueError: if there are fewer than two experts, or the threshold is not positive.
    """
    chex.assert_rank(logits, 3)
    experts = logits.shape[-1]
    if experts < 2 or threshold <= 0:
        raise ValueError(f"top-2 routing needs 2 experts and threshold > 0, got {experts} and {threshold}")
    gates = jax.nn.softmax(logits.astype(jnp.float32))
    first = jnp.argmax(gates, axis=-1)
    others = jnp.where(jax.nn.one_hot(first, experts, dtype=bool), -1.0, gates)
    expert = jnp.stack([first, jnp.argmax(others, axis=-1)], axis=-1)
    chosen = jnp.take_along_axis(gates, expert, axis=-1)
    gate = chosen / (chosen.sum(-1, keepdims=True) + 1e-9)
    choices = Choices(expert, gate, _wanted(expert, valid), _balance(gates, first, valid))
    return choices if key is None else thinned(choices, jax.random.uniform(key, first.shape), threshold)


def thinned(choices: Choices, drawn: Float[Array, "G S"], threshold: float = 0.5) -> Choices:
    """Top-2 choices of which weak second ones are given up.

    Args:
      choices: of ``top2`` without a key.
      drawn: a uniform number for each token, which keeps its second choice where that is less than ``g_2 / threshold``.
      threshold: as of ``top2``.
    """
    stays = drawn < choices.gate[..., 1] / threshold
    return choices._replace(wanted=choices.wanted & jnp.stack([jnp.ones_like(stays), stays], axis=-1))


def switch(logits: Float[Array, "G S E"], *, valid: Bool[Array, "G S"] | None = None) -> Choices:
    """Switch's one choice per token, weighted by its probability, so that the router has a gradient; arguments as in ``top2``."""
    chex.assert_rank(logits, 3)
    gates = jax.nn.softmax(logits.astype(jnp.float32))
    expert = jnp.argmax(gates, axis=-1)[..., None]
    gate = jnp.take_along_axis(gates, expert, axis=-1)
    return Choices(expert, gate, _wanted(expert, valid), _balance(gates, expert[..., 0], valid))


def router_z_loss(logits: Float[Array, "G S E"], valid: Bool[Array, "G S"] | None = None) -> Float[Array, " G"]:
    """Each group's mean over its ``S`` tokens of ``logsumexp(logits) ** 2``, which keeps logits small; 0 of padding."""
    squares = jnp.square(jax.nn.logsumexp(logits.astype(jnp.float32), axis=-1))
    return jnp.mean(squares if valid is None else jnp.where(valid, squares, 0.0), axis=-1)


def _wanted(expert: Int[Array, "G S k"], valid: Bool[Array, "G S"] | None) -> Bool[Array, "G S k"]:
    """True of every choice of a valid token."""
    return jnp.ones(expert.shape, bool) if valid is None else jnp.broadcast_to(valid[..., None], expert.shape)


def _balance(
    gates: Float[Array, "G S E"], first: Int[Array, "G S"], valid: Bool[Array, "G S"] | None
) -> Float[Array, " G"]:
    """The auxiliary loss."""
    asked = jax.nn.one_hot(first, gates.shape[-1], dtype=gates.dtype)
    if valid is not None:
        asked, gates = asked * valid[..., None], gates * valid[..., None]
    return gates.shape[-1] * jnp.sum(asked.mean(1) * gates.mean(1), axis=-1)
