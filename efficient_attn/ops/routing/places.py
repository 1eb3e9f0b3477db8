"""Which choices an expert has room for, found by counting (released code) or by a sort; the answers are the same."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from efficient_attn.ops.routing.choices import Choices


class Places(NamedTuple):
    """Where each choice's row lies among those of its expert."""

    slot: Int[Array, "G S k"]
    """Place within the expert, below the capacity; 0 where not kept."""
    kept: Bool[Array, "G S k"]
    """False of a choice that is not wanted or for which there was no room."""


def place_by_counting(choices: Choices, experts: int, capacity: int) -> Places:
    """Cumulative sums over ``[S, E]`` masks, one for each rank of choice.

    Args:
      choices: what the tokens ask for.
      experts: ``E``.
      capacity: places of each expert for a group.
    """
    taken = jnp.zeros((choices.expert.shape[0], 1, experts), jnp.int32)
    slots, kepts = [], []
    for rank in range(choices.expert.shape[-1]):
        mask = jax.nn.one_hot(choices.expert[..., rank], experts, dtype=jnp.int32)
        mask = mask * choices.wanted[..., rank, None]
        before = jnp.cumsum(mask, axis=1) - mask + taken
        room = mask * (before < capacity)
        taken = taken + room.sum(1, keepdims=True)
        slots.append((before * room).sum(-1))
        kepts.append(room.sum(-1) > 0)
    return Places(jnp.stack(slots, axis=-1), jnp.stack(kepts, axis=-1))


def place_by_sorting(choices: Choices, experts: int, capacity: int) -> Places:
    """One stable sort of the ``S k`` choices by expert, first choices of all tokens before any second; arguments as above."""

    def group(expert: Int[Array, "S k"], wanted: Bool[Array, "S k"]) -> tuple[jax.Array, jax.Array]:
        # Choice-major: were a token's two choices side by side, early second choices would outrank late first ones.
        asked = jnp.where(wanted, expert, experts).T.reshape(-1)
        rank = ranks(asked, experts)[0].reshape(expert.shape[::-1]).T
        kept = wanted & (rank < capacity)
        return jnp.where(kept, rank, 0).astype(jnp.int32), kept

    return Places(*jax.vmap(group)(choices.expert, choices.wanted))


def ranks(asked: Int[Array, " n"], experts: int) -> tuple[Int[Array, " n"], Int[Array, " E"]]:
    """How many earlier choices ask for the same expert, and how many ask for each; ``experts`` stands for none of them."""
    order = jnp.argsort(asked, stable=True)
    ordered = asked[order]
    begin = jnp.searchsorted(ordered, jnp.arange(experts + 1))
    rank = jnp.arange(asked.size) - begin[ordered]
    return jnp.zeros_like(rank).at[order].set(rank, unique_indices=True), jnp.diff(begin)
