"""A module as a function of a plain dictionary of arrays, which is what the trainer and the checkpoints hold."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import jax
from flax import nnx

from efficient_attn.nn.constant import Constant

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
        graphdef, shapes = self._abstract
        state = jax.tree.map(lambda shape: shape, shapes)
        nnx.replace_by_pure_dict(state, params)
        return nnx.merge(graphdef, state)

    def trained(self) -> Params:
        """Which of the arrays training changes: all but constants."""
        _, state = self._abstract
        is_variable = lambda leaf: isinstance(leaf, nnx.Variable)  # noqa: E731
        marked = jax.tree.map(lambda v: v.replace(not isinstance(v, Constant)), state, is_leaf=is_variable)
        return nnx.to_pure_dict(marked)

    def shapes(self) -> Params:
        """Shapes and formats of the parameters; nothing is allocated."""
        return nnx.to_pure_dict(self._abstract[1])

    @functools.cached_property
    def _abstract(self) -> tuple[Any, Any]:
        """The module's structure and the shapes of its arrays, which take seconds to trace where layers do not stack."""
        return nnx.split(nnx.eval_shape(lambda: self.make(jax.random.key(0))))


def count(shapes: Any, trained: Any = None) -> int:
    """How many numbers a tree of arrays or shapes holds; with ``trained``, how many of them it marks."""
    marks = jax.tree.map(lambda _: True, shapes) if trained is None else trained
    sizes = jax.tree.map(lambda x, mark: math.prod(x.shape) if mark else 0, shapes, marks)
    return sum(jax.tree.leaves(sizes))
