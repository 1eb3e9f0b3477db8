"""The training step: one compiled function from a state and a batch to the next state and its metrics.

The loss is the sum over terms of sum / count with the counts of the whole batch, taken before the backward pass, so
microbatches and devices add up to the un-split step. An update whose loss or gradient is not finite is computed but
never applied, whatever the loop then decides: the state stays good.
"""

import dataclasses
import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int

from efficient_attn.sharding import constrain
from efficient_attn.training.ema import EMA
from efficient_attn.training.loss_scale import DynamicLossScale
from efficient_attn.training.objective import Batch, Mean, Objective, total
from efficient_attn.training.sharding import Placement
from efficient_attn.training.state import TrainState

PyTree = Any
CLEAN = -1
"""Value of the metric ``nonfinite`` for a step whose loss and gradient are finite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What a step does besides gradient and update."""

    accumulation: int = 1
    """Microbatches per step: memory falls, the result does not change."""
    ema: EMA | None = None
    loss_scale: DynamicLossScale | None = None
    """For float16 compute; bfloat16 and float32 need none."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """Whether a run ends at a loss or gradient that is not finite, or goes on without that update.
    A dynamic loss scale above its floor always skips, since overflow is how it finds its value."""

    def __post_init__(self):
        if self.accumulation < 1:
            raise ValueError(f"accumulation is a number of microbatches, at least 1; got {self.accumulation}")


def make_train_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    options: StepOptions,
    placement: Placement,
    state: TrainState,
):
    """Returns ``step(state, batch) -> (state, metrics)``, compiled once; the state it is given is donated.

    Args:
      objective: the loss.
      optimizer: the transformation whose state ``state`` carries.
      options: accumulation, average, loss scale.
      placement: the mesh and where arrays lie on it.
      state: a state, or its shapes.

    Returns:
      A jitted function; ``placement.put`` its first state. Its metrics are numbers on the device: ``terms`` (a Mean for
      each), ``loss``, ``grad_norm`` (unscaled, unclipped), ``learning_rate`` (NaN if the optimizer keeps none),
      ``nonfinite`` (-1, or the index of the first bad tensor of the gradient in tree order, or the number of tensors
      if only the loss is bad) and, where losses are scaled, the ``loss_scale`` of this step.
    """
    shardings = placement.state(state, optimizer)

    def train_step(state, batch):
        with jax.sharding.use_abstract_mesh(placement.mesh.abstract_mesh):
            key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
            gradients, means, carry = _gradients(objective, state, batch, key, (options.accumulation, placement.batch))
            loss = total(objective, *({name: mean[part] for name, mean in means.items()} for part in (0, 1)))
            return _advance(optimizer, options, state, (gradients, loss, means, carry))

    return jax.jit(
        train_step,
        in_shardings=(shardings, placement.batches()),
        out_shardings=(shardings, placement.replicated),
        donate_argnums=0,
    )


def make_eval_step(objective: Objective, placement: Placement):
    """Returns ``step(params, batch, carry) -> (terms, carry)``: the same loss, deterministic and without a gradient."""

    def eval_step(params, batch, carry):
        with jax.sharding.use_abstract_mesh(placement.mesh.abstract_mesh):
            return objective(params, batch, None, carry)

    return jax.jit(eval_step)


def _split(x: Array, parts: int, spec: jax.P) -> Array:
    """Cuts the batch axis into strided microbatches, so that each device keeps the rows that it has."""
    rows = x.shape[0]
    if rows % parts:
        raise ValueError(f"a batch of {rows} rows does not divide into {parts} microbatches")
    return constrain(jnp.swapaxes(x.reshape(rows // parts, parts, *x.shape[1:]), 0, 1), jax.P(None, *spec))


def _join(x: Array) -> Array:
    """Undoes ``_split``."""
    return jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])


def _loss(params: PyTree, batch: Batch, key: Array, carry: PyTree, objective: Objective, weights):
    """Returns this microbatch's share of the (scaled) loss, with the sums of its terms and its carry."""
    counts, scale = weights
    terms, carry = objective(params, batch, key, carry)
    if set(terms) != set(counts):
        raise ValueError(f"the objective has terms {sorted(terms)} but counts {sorted(counts)}")
    sums = {name: term.sum.astype(jnp.float32) for name, term in terms.items()}
    return scale * total(objective, sums, counts), (sums, carry)


def _gradients(objective: Objective, state: TrainState, batch: Batch, key: Array, split: tuple[int, jax.P]):
    """Returns the unscaled gradient, the terms and the carry of the whole batch, one microbatch at a time."""
    parts, spec = split
    counts = {name: jnp.asarray(count, jnp.float32) for name, count in objective.counts(batch).items()}
    scale = state.loss_scale.scale if state.loss_scale else jnp.ones((), jnp.float32)
    compute = jax.grad(functools.partial(_loss, objective=objective, weights=(counts, scale)), has_aux=True)
    if parts == 1:
        gradients, (sums, carry) = compute(state.params, batch, key, state.carry)
    else:

        def add(total, part):
            gradients, (sums, carry) = compute(state.params, *part)
            return jax.tree.map(jnp.add, total, (gradients, sums)), carry

        pieces = jax.tree.map(lambda x: _split(x, parts, spec), (dict(batch), state.carry))
        inputs = (pieces[0], jax.random.split(key, parts), pieces[1])
        zeros = (jax.tree.map(jnp.zeros_like, state.params), jax.tree.map(jnp.zeros_like, counts))
        (gradients, sums), carry = jax.lax.scan(add, zeros, inputs)
        carry = jax.tree.map(_join, carry)
    unscaled = jax.tree.map(lambda g: g / scale.astype(g.dtype), gradients) if state.loss_scale else gradients
    return unscaled, {name: Mean(sums[name], counts[name]) for name in counts}, carry


def _first_nonfinite(loss: Float[Array, ""], squares: Float[Array, " n"]) -> Int[Array, ""]:
    bad = ~jnp.isfinite(jnp.append(squares, loss))
    return jnp.where(bad.any(), jnp.argmax(bad), CLEAN).astype(jnp.int32)


def _advance(optimizer: optax.GradientTransformation, options: StepOptions, state: TrainState, result):
    """Applies the update if it is finite; the step counts either way."""
    gradients, loss, means, carry = result
    squares = jnp.stack([jnp.sum(jnp.square(g.astype(jnp.float32))) for g in jax.tree.leaves(gradients)])
    nonfinite = _first_nonfinite(loss, squares)
    finite = nonfinite == CLEAN

    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema = options.ema.update(state.ema, params) if options.ema else None
    moved = dataclasses.replace(state, params=params, opt_state=opt_state, ema=ema, carry=carry)
    new_state = dataclasses.replace(
        _choose(finite, moved, state),
        step=state.step + 1,
        loss_scale=options.loss_scale.update(state.loss_scale, finite) if options.loss_scale else None,
    )
    metrics = {
        "terms": means,
        "loss": loss,
        "grad_norm": jnp.sqrt(squares.sum()),
        "learning_rate": optax.tree_utils.tree_get(opt_state, "learning_rate", jnp.nan),
        "nonfinite": nonfinite,
    }
    return new_state, metrics | ({"loss_scale": state.loss_scale.scale} if options.loss_scale else {})


def _choose(condition: Bool[Array, ""], then: PyTree, otherwise: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), then, otherwise)
