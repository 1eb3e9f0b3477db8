"""Learning rates: a linear warm-up to the peak, then a decay. Pure functions of the step.

``rate(step)`` is used by the update from ``step`` to ``step + 1``, so step 0 is the first update:

    step < warmup_steps:   peak * (step + 1) / warmup_steps
    otherwise:             peak * decay((step - warmup_steps) / (decay_steps - warmup_steps))

The first update already moves, the update ``warmup_steps - 1`` is the first at the peak, and the last update of a
decay to zero still moves. ``final`` is a fraction of the peak.
"""

import dataclasses
import math
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

Rate = Callable[..., Float[Array, ""]]


def _check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a fraction of the peak rate, in [0, 1]; got {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Constant:
    """The peak rate after warm-up."""

    def __call__(self, progress, step, warmup_steps):
        """Returns 1."""
        return jnp.ones_like(progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cosine:
    """Half a cosine from the peak to ``final``."""

    final: float = 0.0

    def __post_init__(self):
        _check_fraction("final", self.final)

    def __call__(self, progress, step, warmup_steps):
        """Returns the fraction of the peak at ``progress`` in [0, 1]."""
        return self.final + (1 - self.final) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polynomial:
    """``(1 - progress) ** power`` from the peak to ``final``."""

    power: float
    final: float = 0.0

    def __post_init__(self):
        _check_fraction("final", self.final)
        if self.power <= 0:
            raise ValueError(f"power must be positive, or the rate does not decay; got {self.power}")

    def __call__(self, progress, step, warmup_steps):
        """Returns the fraction of the peak at ``progress`` in [0, 1]."""
        return self.final + (1 - self.final) * (1 - progress) ** self.power


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """A straight line from the peak to ``final``."""

    final: float = 0.0

    def __post_init__(self):
        _check_fraction("final", self.final)

    def __call__(self, progress, step, warmup_steps):
        """Returns the fraction of the peak at ``progress`` in [0, 1]."""
        return self.final + (1 - self.final) * (1 - progress)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverseSquareRoot:
    """``sqrt(warmup_steps / (step + 1))``, the schedule of Vaswani et al. (2017): it knows no end."""

    flat: int = 0
    """Steps at the peak before the fall, from which on it is ``sqrt(flat / (step + 1))``: T5's schedule, without a warm-up."""

    def __post_init__(self):
        if self.flat < 0:
            raise ValueError(f"flat is a number of steps and must not be negative; got {self.flat}")

    def __call__(self, progress, step, warmup_steps):
        """Returns the fraction of the peak at ``step``."""
        top = max(warmup_steps, self.flat, 1)
        return jnp.sqrt(top / jnp.maximum(step + 1, top))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drop:
    """The peak rate, and from one step on a fraction of it."""

    at: int
    """The first step at the lower rate."""
    final: float = 0.1

    def __post_init__(self):
        _check_fraction("final", self.final)
        if self.at < 1:
            raise ValueError(f"at is a step, at least 1; got {self.at}")

    def __call__(self, progress, step, warmup_steps):
        """Returns 1, or ``final`` from step ``at`` on."""
        return jnp.where(step < self.at, 1.0, self.final)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schedule:
    """A warm-up and a decay."""

    peak: float
    """The highest learning rate."""
    warmup_steps: int = 0
    decay: Constant | Cosine | Linear | Polynomial | InverseSquareRoot | Drop = Cosine()
    decay_steps: int | None = None
    """The step at which the decay ends; ``None``: the last step of the run. Set it to train past the end."""

    def __post_init__(self):
        if not 0 < self.peak < math.inf:
            raise ValueError(f"peak is the highest learning rate and must be positive and finite; got {self.peak}")
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative; got {self.warmup_steps}")

    def build(self, steps: int) -> Rate:
        """Returns the learning rate as a function of the step.

        Args:
          steps: the length of the run, in updates; the end of the decay unless ``decay_steps`` says otherwise.

        Raises:
          ValueError: if the warm-up is longer than the decay's end.
        """
        end = steps if self.decay_steps is None else self.decay_steps
        if end < 1:
            raise ValueError(f"a schedule needs at least one step; got {end}")
        if self.warmup_steps > end:
            raise ValueError(
                f"schedule.warmup_steps={self.warmup_steps} is longer than the schedule's {end} steps: lower it, or take more steps"
            )
        warmup = self.warmup_steps

        def rate(step):
            step = jnp.asarray(step, jnp.float32)
            progress = jnp.clip((step - warmup) / max(end - warmup, 1), 0, 1)
            rising = (step + 1) / max(warmup, 1)
            return self.peak * jnp.where(step < warmup, rising, self.decay(progress, step, warmup))

        return rate
