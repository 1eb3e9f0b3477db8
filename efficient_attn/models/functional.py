"""A module as a function of a plain dictionary of arrays, which is what the trainer and the checkpoints hold."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

Module = TypeVar("Module", bound=nnx.Module)
Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Functional(Generic[Module]):
    """The form of a module without its arrays.

    Args:
      make: the module from a key.
    """

    make: Callable[[jax.Array], Module]

    def init(self, key: jax.Array) -> Params:
        """Initial parameters, as nested dictionaries."""
        return nnx.to_pure_dict(nnx.split(self.make(key))[1])

    def module(self, params: Params) -> Module:
        """The module with these parameters; free inside a traced function."""
        graphdef, state = nnx.split(nnx.eval_shape(lambda: self.make(jax.random.key(0))))
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graphdef, state)

    def shapes(self) -> Params:
        """Shapes and formats of the parameters; nothing is allocated."""
        return jax.eval_shape(self.init, jax.random.key(0))


def count(shapes: Params) -> int:
    """How many numbers a tree of arrays or shapes holds."""
    return sum(math.prod(x.shape) for x in jax.tree.leaves(shapes))
