"""Choices of which none is dropped, however many ask for one expert: their rows in blocks that each belong to one expert.

The rows of an expert lie one after another and begin a block, so that at most ``C - 1`` rows of its last block are empty. So many
blocks are enough, whatever is asked for:

    blocks = min(n, floor((n + E (C - 1)) / C))        of n choices: one block for each is never too few

Cost: ``O(n log n)`` time for ``n = G S k`` choices of all groups, and ``O((n + E C) D)`` memory for their rows.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from efficient_attn.ops.routing.choices import Choices
from efficient_attn.ops.routing.dispatch import moved, sources
from efficient_attn.ops.routing.places import ranks

# Rows of a block: those of a tile of a TPU's matrix unit, or so many that the last blocks of experts, which are half empty, are
# about a quarter of all; 16 are the fewest that a TPU takes in bfloat16.
_MOST, _LEAST = 128, 16


class Blocks(NamedTuple):
    """Where the rows of choices lie."""

    home: Int[Array, "G S k"]
    """The row of each choice; -1 of one that is not wanted."""
    expert: Int[Array, " blocks"]
    """The expert that each block belongs to; those of one expert side by side, unused ones last."""
    counts: Int[Array, " E"]
    """Blocks that each expert uses."""


def block_size(choices: int, experts: int) -> int:
    """Rows of a block, a power of two, where so many choices are shared among so many experts."""
    even = max(1, choices // (2 * experts))
    return min(_MOST, max(_LEAST, 1 << (even.bit_length() - 1)))


def place_in_blocks(choices: Choices, experts: int, size: int) -> Blocks:
    """Blocks for the wanted choices of all groups together.

    Args:
      choices: what the tokens ask for.
      experts: ``E``.
      size: ``C``, rows of a block.
    """
    total = choices.expert.size
    asked = jnp.where(choices.wanted, choices.expert, experts).reshape(-1)
    rank, asking = ranks(asked, experts)
    counts = -(-asking // size)
    ends = jnp.cumsum(counts)
    # What is not wanted begins nowhere.
    begins = jnp.append(size * (ends - counts), 0)
    home = jnp.where(asked < experts, begins[asked] + rank, -1).reshape(choices.expert.shape)
    blocks = min(total, (total + experts * (size - 1)) // size)
    owner = jnp.searchsorted(ends, jnp.arange(blocks), side="right")
    as_int = lambda x: x.astype(jnp.int32)  # noqa: E731
    return Blocks(as_int(home), as_int(jnp.minimum(owner, experts - 1)), as_int(counts))


def dispatch_to_blocks(x: Float[Array, "G S D"], blocks: Blocks, size: int) -> Float[Array, "rows D"]:
    """The row of each choice, 0 in rows that none has; ``size`` as of ``place_in_blocks``."""
    choices = blocks.home.shape[-1]
    home = blocks.home.reshape(1, -1, choices)
    filled = sources(home, size * blocks.expert.size)[0]
    return moved(x.reshape(-1, x.shape[-1]), jnp.where(filled >= 0, filled // choices, -1), home[0])


def combine_from_blocks(y: Float[Array, "rows D"], choices: Choices, blocks: Blocks) -> Float[Array, "G S D"]:
    """The sum of the results of each token's wanted choices, each times its gate."""
    filled = sources(blocks.home.reshape(1, -1, blocks.home.shape[-1]), y.shape[0])[0]
    got = moved(y, blocks.home.reshape(-1), filled[:, None]).reshape(*blocks.home.shape, y.shape[-1])
    return jnp.einsum("gskd,gsk->gsd", got, choices.gate.astype(y.dtype))
