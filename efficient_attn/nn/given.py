"""What comes to the layers beside the tokens."""

import dataclasses

import jax
from jaxtyping import Array, Bool, Int

from efficient_attn.kernels import RelativeBias
from efficient_attn.ops.lsh import Rotations


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Given:
    """The same for all layers of a call."""

    key_mask: Bool[Array, "B T"] | None = None
    """False hides a token from all others."""
    segments: Int[Array, "B T"] | None = None
    """Which text each token belongs to; tokens see those of their own text only."""
    positions: Int[Array, "B T"] | None = None
    """Of each token within its text; None: its slot in the row."""
    bias: RelativeBias | None = None
    """Of the scores, by offset."""
    rotations: Rotations | None = None
    """Of LSH attention, instead of drawn ones."""


NOTHING = Given()
