"""Optimizers as frozen configs over optax, with the three things around them: clipping, the rate, a constraint.

``chain`` puts them in the one order that is right: clip the (already unscaled) gradient, precondition, add decoupled
weight decay, multiply by the rate, and last of all project the parameters onto their constraint.
"""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from efficient_attn.training.factored import scale_by_factored_moments
from efficient_attn.training.schedules import Rate

PyTree = Any


def _check_range(name: str, value: float, end: float = float("inf")) -> None:
    if not 0 <= value < end:
        raise ValueError(f"{name} must be in [0, {end}); got {value}")


class RateState(NamedTuple):
    """How many updates were made, and the learning rate of the last one (read by the step's metrics)."""

    count: Int[Array, ""]
    learning_rate: Float[Array, ""]


def scale_by_rate(rate: Rate) -> optax.GradientTransformation:
    """Multiplies updates by ``-rate(count)`` and keeps the rate in its state, so that a log shows the one in use."""

    def init(params):
        return RateState(jnp.zeros((), jnp.int32), jnp.asarray(rate(0), jnp.float32))

    def update(updates, state, params=None):
        now = jnp.asarray(rate(state.count), jnp.float32)
        scaled = jax.tree.map(lambda u: -now.astype(u.dtype) * u, updates)
        return scaled, RateState(optax.safe_increment(state.count), now)

    return optax.GradientTransformation(init, update)


def constrain_parameters(constraint: Callable[[PyTree], PyTree]) -> optax.GradientTransformation:
    """Changes updates so that the new parameters are ``constraint(params + updates)``: the last transformation."""

    def update(updates, state, params):
        proposed = optax.apply_updates(params, updates)
        return jax.tree.map(jnp.subtract, constraint(proposed), params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def matrices(params: PyTree) -> PyTree:
    """Marks tensors of two or more dimensions: the ones that weight decay shrinks by default.

    Layers stacked for a scan have one dimension more than their shape says; their builder gives its own mask.
    """
    return jax.tree.map(lambda p: p.ndim > 1, params)


# Which parameters weight decay shrinks, as a tree of booleans.
Mask = Callable[[PyTree], PyTree]


def clip_step_per_tensor(inner: optax.GradientTransformation, limit: float) -> optax.GradientTransformation:
    """Shrinks each tensor's step by ``limit / norm(gradient)``, while ``inner`` accumulates the gradient unclipped."""

    def shrink(update, gradient):
        norm = jnp.linalg.norm(gradient.astype(jnp.float32).ravel())
        return update * jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-10)).astype(update.dtype)

    def update(gradients, state, params=None):
        updates, state = inner.update(gradients, state, params)
        return jax.tree.map(shrink, updates, gradients), state

    return optax.GradientTransformation(inner.init, update)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Optimizer(abc.ABC):
    """What the optimizers share: a step is the rate times a direction, and weight decay is decoupled, as in Loshchilov and
    Hutter 2019: it adds to the direction, not to the gradient."""

    weight_decay: float = 0.0
    """Fraction of a matrix removed per update, times the learning rate."""

    def __post_init__(self):
        _check_range("weight_decay", self.weight_decay)

    @abc.abstractmethod
    def direction(self) -> tuple[optax.GradientTransformation, ...]:
        """What turns a gradient into a direction of ascent, in order, before weight decay and rate."""

    def build(self, schedule: Rate, decayed: Mask = matrices) -> optax.GradientTransformation:
        """Returns the whole transformation; ``decayed`` marks the parameters that weight decay shrinks."""
        decay = [optax.add_decayed_weights(self.weight_decay, mask=decayed)] if self.weight_decay else []
        return optax.chain(*self.direction(), *decay, scale_by_rate(schedule))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdamW(_Optimizer):
    """Adam with bias correction."""

    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    """Added to the root of the second moment."""

    def __post_init__(self):
        super().__post_init__()
        _check_range("b1", self.b1, 1.0)
        _check_range("b2", self.b2, 1.0)
        _check_range("eps", self.eps)

    def direction(self) -> tuple[optax.GradientTransformation, ...]:
        return (optax.scale_by_adam(self.b1, self.b2, self.eps),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adagrad(_Optimizer):
    """``step = rate * g / (sqrt(sum of g^2) + eps)``, from an empty accumulator as in PyTorch."""

    eps: float = 1e-10
    step_clip: float | None = None
    """Largest gradient norm per tensor before its step shrinks in proportion; the accumulator sees the gradient whole.
    The 'grad clip' of Adaptive Attention Span (Sukhbaatar et al. 2019) and of Sandwich Transformer, 0.03."""

    def __post_init__(self):
        super().__post_init__()
        _check_range("eps", self.eps)
        if self.step_clip is not None and self.step_clip <= 0:
            raise ValueError(f"step_clip is a norm and must be positive, or None; got {self.step_clip}")

    def direction(self) -> tuple[optax.GradientTransformation, ...]:
        # optax adds eps under the root, so its square stands for eps beside the root.
        inner = optax.scale_by_rss(initial_accumulator_value=0.0, eps=self.eps**2)
        if self.step_clip is not None:
            inner = clip_step_per_tensor(inner, self.step_clip)
        return (inner,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adafactor(_Optimizer):
    """Factored second moments (Shazeer and Stern 2018), as in GShard: no first moment, absolute steps; or relative, as in T5."""

    decay_power: float = 0.8
    """The second moment's decay is ``1 - t**-decay_power`` ..."""
    decay_cap: float = 0.99
    """... but at most this (GShard; 1.0 for the paper's own schedule)."""
    update_clip: float = 1.0
    """Largest root mean square of a tensor's update."""
    min_factored: int = 128
    """A matrix with a smaller side keeps its whole second moment."""
    step_size: Literal["absolute", "relative"] = "absolute"
    """relative: a tensor's step is multiplied by the root mean square of the tensor, at least 0.001; stacked layers are one."""

    def __post_init__(self):
        super().__post_init__()
        _check_range("decay_power", self.decay_power, 1.0)
        if not 0 < self.decay_cap <= 1:
            raise ValueError(f"decay_cap must be in (0, 1]; got {self.decay_cap}")
        if self.update_clip <= 0:
            raise ValueError(f"update_clip is a root mean square and must be positive; got {self.update_clip}")

    def direction(self) -> tuple[optax.GradientTransformation, ...]:
        def decay(step):
            return jnp.minimum(1.0 - (step + 1.0) ** -self.decay_power, self.decay_cap)

        steps = scale_by_factored_moments(decay, self.min_factored), optax.clip_by_block_rms(self.update_clip)
        return steps if self.step_size == "absolute" else (*steps, optax.scale_by_param_block_rms(min_scale=1e-3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(_Optimizer):
    """Gradient descent; the momentum buffer is free of the rate, as in PyTorch and in fairseq's NAG."""

    momentum: float = 0.0
    nesterov: bool = False
    """Nesterov's variant of the same buffer."""

    def __post_init__(self):
        super().__post_init__()
        _check_range("momentum", self.momentum, 1.0)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True needs momentum > 0; got momentum=0.0")

    def direction(self) -> tuple[optax.GradientTransformation, ...]:
        return (optax.trace(self.momentum, self.nesterov),) if self.momentum else ()


Optimizer = AdamW | Adagrad | Adafactor | SGD


def chain(
    optimizer: optax.GradientTransformation,
    *,
    clip_norm: float | None = None,
    constraint: Callable[[PyTree], PyTree] | None = None,
    trained: PyTree | None = None,
) -> optax.GradientTransformation:
    """Puts clipping before a built optimizer and a constraint after it, and keeps it from arrays that are not trained.

    Args:
      optimizer: what a config's ``build`` returned.
      clip_norm: largest global norm of the gradient, after any loss scale was divided out; ``None``: no limit.
      constraint: maps proposed parameters to allowed ones, such as spans clamped to [0, 1].

      trained: a tree of booleans like the parameters; where one is False the optimizer has no state, and an array whose
        gradient is 0 stays as it is. ``None``: all are trained.

    Raises:
      ValueError: if ``clip_norm`` is not positive.
    """
    if clip_norm is not None and clip_norm <= 0:
        raise ValueError(f"clip_norm is a norm and must be positive, or None; got {clip_norm}")
    if trained is not None and not all(jax.tree.leaves(trained)):
        optimizer = optax.masked(optimizer, trained)
    before = [] if clip_norm is None else [optax.clip_by_global_norm(clip_norm)]
    after = [] if constraint is None else [constrain_parameters(constraint)]
    return optax.chain(*before, optimizer, *after) if before or after else optimizer
