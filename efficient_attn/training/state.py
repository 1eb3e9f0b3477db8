"""Everything a step reads and writes, and so everything a checkpoint holds."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from efficient_attn.training.loss_scale import DynamicLossScale

PyTree = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """The state of a run. Its fields are untyped because a state of shapes or of shardings has the same form."""

    step: Any
    """Steps taken, skipped updates included: the position in the data."""
    params: PyTree
    opt_state: PyTree
    ema: PyTree
    """The average of the parameters, or ``None``."""
    carry: PyTree
    """The objective's memory; every leaf leads with the batch axis."""
    loss_scale: Any
    """A ``LossScale``, or ``None``."""
    key: Any
    """Raw data of the base key: step ``n`` draws from ``fold_in(key, n)``, so its number alone decides."""

    @classmethod
    def create(
        cls,
        params: PyTree,
        optimizer: optax.GradientTransformation,
        key: jax.Array,
        *,
        carry: PyTree = (),
        average: bool = False,
        loss_scale: DynamicLossScale | None = None,
    ) -> "TrainState":
        """Returns the state of step 0.

        Args:
          params: the initial parameters, copied: a step donates its state, and the caller keeps the tree.
          optimizer: the transformation that the step will apply.
          key: a typed key, the base of every step's randomness.
          carry: the objective's initial memory.
          average: whether to keep an average of the parameters.
          loss_scale: how float16 losses are scaled, if they are.
        """
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=jax.tree.map(jnp.copy, params),
            opt_state=optimizer.init(params),
            ema=jax.tree.map(jnp.copy, params) if average else None,
            carry=jax.tree.map(jnp.copy, carry),
            loss_scale=loss_scale.create() if loss_scale else None,
            key=jnp.copy(jax.random.key_data(key)),
        )

    @property
    def evaluated(self) -> PyTree:
        """The parameters to evaluate: the average where there is one."""
        return self.params if self.ema is None else self.ema
