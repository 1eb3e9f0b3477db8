"""An exponential moving average of the parameters, evaluated and sampled from in place of them."""

import dataclasses
from typing import Any

import jax

PyTree = Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class EMA:
    """``average = decay * average + (1 - decay) * params`` after every update, from the initial parameters."""

    decay: float = 0.999
    """The released Sparse Transformer's value."""

    def __post_init__(self):
        if not 0 <= self.decay < 1:
            raise ValueError(f"decay must be in [0, 1); got {self.decay}")

    def update(self, average: PyTree, params: PyTree) -> PyTree:
        """Returns the next average."""
        return jax.tree.map(lambda a, p: self.decay * a + (1 - self.decay) * p, average, params)
