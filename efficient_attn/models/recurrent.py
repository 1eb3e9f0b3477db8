"""Stacked recurrent layers and a linear readout of their last states: a classifier or a regressor of sequences.

Reference:
  Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021, section 4.
"""

import dataclasses
import functools

import jax
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.models.functional import Functional
from efficient_attn.nn.recurrent import CellName, RecurrentStack


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Sizes of a stack of recurrent layers; what it reads and predicts is the data's."""

    cell: CellName = "nbrc"
    depth: int = 2
    """Layers."""
    width: int = 100
    """Units of a layer."""

    def __post_init__(self):
        for name in ("depth", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class RecurrentPredictor(nnx.Module):
    """Numbers, or logits of classes, from the states of the top layer.

    Args:
      config: the stack.
      inputs: features of an input.
      outputs: numbers or classes to predict at a step.
      key: randomness of the initial parameters.
    """

    def __init__(self, config: RecurrentConfig, inputs: int, outputs: int, *, key: jax.Array):
        rngs = nnx.Rngs(key)
        self.stack = RecurrentStack(config.cell, inputs, config.width, config.depth, rngs=rngs)
        self.readout = nnx.Linear(config.width, outputs, kernel_init=nnx.initializers.glorot_uniform(), rngs=rngs)

    def __call__(self, inputs: Float[Array, "B T I"], steps: int = 1) -> Float[Array, "B steps O"]:
        """What is read off the last ``steps`` states."""
        return self.readout(self.stack(inputs)[:, -steps:])


@functools.lru_cache(maxsize=16)
def predictor_of(config: RecurrentConfig, inputs: int, outputs: int) -> Functional[RecurrentPredictor]:
    """The form of the model; one for equal arguments, so that programs compiled for it are found again."""
    return Functional(lambda key: RecurrentPredictor(config, inputs, outputs, key=key))
