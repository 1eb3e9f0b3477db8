"""Experts that choose their tokens: every expert is full, no auxiliary loss is needed, and the future is seen.

Whether a token is among an expert's best depends on all tokens of its group, so no decoder may be routed so.
"""

import chex
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def expert_choice(
    logits: Float[Array, "G S E"], capacity: int, valid: Bool[Array, "G S"] | None = None
) -> tuple[Int[Array, "G E C"], Float[Array, "G E C"]]:
    """The tokens that each expert takes, and the weights of their results.

    Args:
      logits: of the router.
      capacity: tokens that an expert takes of a group; 0 weighs those beyond the valid ones.
      valid: False of padding.

    Returns:
      Tokens within their group, and their probabilities of the expert (softmax over experts), float32.

    Raises:
      ValueError: if an expert was to take more tokens than a group has.
    """
    chex.assert_rank(logits, 3)
    if not 1 <= capacity <= logits.shape[1]:
        raise ValueError(f"an expert takes 1 to {logits.shape[1]} tokens, all of a group; got capacity={capacity}")
    scores = jax.nn.softmax(logits.astype(jnp.float32))
    scores = scores if valid is None else jnp.where(valid[..., None], scores, 0.0)
    gates, tokens = jax.lax.top_k(jnp.swapaxes(scores, 1, 2), capacity)
    return tokens, gates
