"""Rows to their experts and back, by gathers alone: in the backward pass too, since each place holds one choice at most."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.ops.routing.choices import Choices
from efficient_attn.ops.routing.places import Places


@jax.custom_vjp
def moved(x: Float[Array, "n D"], index: Int[Array, " m"], back: Int[Array, "n j"]) -> Float[Array, "m D"]:
    """``x[index]``, 0 where the index is -1; ``back`` says in which rows of the result each row of ``x`` lies, -1 for none."""
    return _rows(x, index)


def _rows(x: jax.Array, index: jax.Array) -> jax.Array:
    return jnp.where(index[:, None] >= 0, x[jnp.maximum(index, 0)], 0)


def _forward(x: jax.Array, index: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _rows(x, index), back


def _backward(back: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None, None]:
    # A scatter-add would give the same and is slow, and in no fixed order on some devices.
    return sum(_rows(gradient, column) for column in back.T), None, None


moved.defvjp(_forward, _backward)


def _homes(choices: Choices, places: Places, capacity: int) -> Int[Array, "G S k"]:
    """Row of each choice among all experts' places of its group; -1 where not kept."""
    return jnp.where(places.kept, choices.expert * capacity + places.slot, -1)


def sources(homes: Int[Array, "G S k"], rows: int) -> Int[Array, "G rows"]:
    """The choice, counted token by token, that lies in each place; -1 in an empty one."""

    def group(home: Int[Array, "S k"]) -> Int[Array, " rows"]:
        flat = home.reshape(-1)
        # A place after the last takes the choices that have none.
        places = jnp.full(rows, -1, jnp.int32).at[jnp.where(flat < 0, rows, flat)]
        return places.set(jnp.arange(flat.size, dtype=jnp.int32), mode="drop")

    return jax.vmap(group)(homes)


def dispatch(
    x: Float[Array, "G S D"], choices: Choices, places: Places, experts: int, capacity: int
) -> Float[Array, "G E C D"]:
    """The rows that each expert computes on, 0 in empty places.

    Args:
      x: tokens of each group.
      choices: what they ask for.
      places: where those lie.
      experts: ``E``.
      capacity: ``C``.

    Cost: ``O(E C D)`` for a group.
    """
    homes = _homes(choices, places, capacity)
    filled = sources(homes, experts * capacity)
    tokens = jnp.where(filled >= 0, filled // homes.shape[-1], -1)
    return jax.vmap(moved)(x, tokens, homes).reshape(x.shape[0], experts, capacity, x.shape[-1])


def combine(y: Float[Array, "G E C D"], choices: Choices, places: Places) -> Float[Array, "G S D"]:
    """The sum of each token's kept results, each times its gate; 0 where none was kept. Cost: ``O(S k D)`` for a group."""
    groups, experts, capacity, width = y.shape
    homes = _homes(choices, places, capacity)
    filled = sources(homes, experts * capacity)
    rows = y.reshape(groups, experts * capacity, width)
    got = jax.vmap(moved)(rows, homes.reshape(groups, -1), filled[..., None]).reshape(*homes.shape, width)
    return jnp.einsum("gskd,gsk->gsd", got, choices.gate.astype(y.dtype))
