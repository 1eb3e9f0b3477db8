"""What an architecture says of its checkpoints: how its config reads and writes, and which tensor is which parameter."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from flax import nnx


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a tensor lies in the file and how the parameter lies here.

    Args:
      read: the parameter of a tensor.
      write: the tensor of a parameter.
    """

    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


SAME = Layout(lambda x: x, lambda x: x)
# PyTorch's linear maps are [out, in], Flax's [in, out].
TRANSPOSED = Layout(lambda x: x.T, lambda x: x.T)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor of a checkpoint."""

    name: str
    path: tuple[str | int, ...]
    """Keys of the parameter in the model's tree."""
    row: int | None = None
    """Its place along the first axis, where the layers of a cycle are stacked; None: the whole parameter."""
    layout: Layout = SAME
    joined: int | None = None
    """The axis along which the file has several parameters as one tensor: those of this name, in order; None: it is alone."""
    also: tuple[str, ...] = ()
    """Names under which the same numbers lie in the file too; any one of them may be missing."""
    aliases: tuple[str, ...] = ()
    """Names under which a file may have the same numbers, beside this one or instead; they are read and never written."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names, that which is read first in front."""
        return (self.name, *self.also, *self.aliases)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """A ``model_type`` of ``transformers``."""

    model: type[nnx.Module] | tuple[type[nnx.Module], ...]
    build: Callable[..., nnx.Module]
    """The model of a config and ``key=``."""
    holds: Callable[[Any], bool]
    """Whether a model with this config of ours is of the type; asked of instances of ``model`` alone."""
    read_config: Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], Any]
    """Our config of a ``config.json`` and of the stored tensors. A KeyError means that a field is missing."""
    write_config: Callable[[Any], dict[str, Any]]
    """The reverse."""
    tensors: Callable[[Any], Sequence[Tensor]]
    """The tensors of a model with our config."""
    zeros: Callable[[Any], Mapping[str, tuple[int, ...]]] = lambda config: {}
    """Shapes of the tensors that are 0 in the file of a model that has not such parameters."""
    ignored: tuple[str, ...] = ()
    """Ends of names of tensors that hold no parameter."""
    unused: tuple[str, ...] = ()
    """Beginnings of names of parameters that the model here has no place for; a warning says so."""
