"""Dynamic loss scaling: float16 gradients below 6e-8 vanish, so the loss is multiplied up and the gradient down.

The scale doubles after a run of clean steps, and halves (the update is skipped) on a gradient that is not finite.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class LossScale(NamedTuple):
    """The scale, and how many clean steps it has lasted."""

    scale: Float[Array, ""]
    clean: Int[Array, ""]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicLossScale:
    """When the scale grows and shrinks; the defaults are the Sparse Transformer's."""

    initial: float = 2.0**16
    growth_interval: int = 1000
    """Clean steps before the scale doubles."""
    floor: float = 1.0
    """The scale never falls below this; a gradient that is not finite even here is a real one."""

    def __post_init__(self):
        if not 0 < self.floor <= self.initial:
            raise ValueError(f"need 0 < floor <= initial; got floor={self.floor}, initial={self.initial}")
        if self.growth_interval < 1:
            raise ValueError(f"growth_interval must be at least 1 step; got {self.growth_interval}")

    def create(self) -> LossScale:
        """Returns the scale of the first step."""
        return LossScale(jnp.asarray(self.initial, jnp.float32), jnp.zeros((), jnp.int32))

    def update(self, state: LossScale, finite: Bool[Array, ""]) -> LossScale:
        """Returns the scale after a step whose gradient was ``finite`` or not."""
        clean = jnp.where(finite, state.clean + 1, 0)
        grow = clean >= self.growth_interval
        halved = jnp.maximum(state.scale / 2, self.floor)
        scale = jnp.where(finite, jnp.where(grow, state.scale * 2, state.scale), halved)
        return LossScale(scale, jnp.where(grow, 0, clean))
