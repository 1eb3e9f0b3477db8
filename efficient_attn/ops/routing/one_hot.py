"""Rows to their experts and back by products with one-hot masks, as the paper writes it: the definition that ``dispatch`` obeys."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efficient_attn.ops.routing.choices import Choices
from efficient_attn.ops.routing.places import Places


def _mask(choices: Choices, places: Places, experts: int, capacity: int) -> Float[Array, "G S k E C"]:
    """1 where a choice lies: made of what was kept and not of the gates, of which a small one may underflow to 0."""
    expert = jax.nn.one_hot(choices.expert, experts) * places.kept[..., None]
    return expert[..., None] * jax.nn.one_hot(places.slot, capacity)[..., None, :]


def dispatch_one_hot(
    x: Float[Array, "G S D"], choices: Choices, places: Places, experts: int, capacity: int
) -> Float[Array, "G E C D"]:
    """``einsum(GSEC, GSD -> GECD)``; arguments as of ``dispatch``. Cost: ``O(S E C D)``, memory ``O(S k E C)`` for a group."""
    mask = _mask(choices, places, experts, capacity).sum(2)
    return jnp.einsum("gsec,gsd->gecd", mask.astype(x.dtype), x)


def combine_one_hot(y: Float[Array, "G E C D"], choices: Choices, places: Places) -> Float[Array, "G S D"]:
    """``einsum(GSEC, GECD -> GSD)`` with the gates; cost as of ``dispatch_one_hot``."""
    mask = _mask(choices, places, y.shape[1], y.shape[2])
    weights = jnp.einsum("gskec,gsk->gsec", mask, choices.gate)
    return jnp.einsum("gsec,gecd->gsd", weights.astype(y.dtype), y)
