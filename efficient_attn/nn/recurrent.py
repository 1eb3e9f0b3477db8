"""Layers of recurrent cells, with the initial parameters that their authors give them.

Input matrices are Glorot-uniform. BRC's recurrent vectors are 1 and nBRC's recurrent matrices orthogonal, as in the released code
of the paper's time; biases are 0, so that a unit at rest has feedback 1 and remembers with gradient 1. GRU and LSTM are Keras's,
which the paper compared with: orthogonal recurrent matrices, and a forget gate's bias of 1.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from efficient_attn.ops.recurrent import Bistable, Gated, brc, gru, lstm, nbrc

CellName = Literal["brc", "nbrc", "gru", "lstm"]

_INPUT = nnx.initializers.glorot_uniform()
_RECURRENT = nnx.initializers.orthogonal()


def _bistable(recurrent: Callable[[jax.Array, int], jax.Array]) -> Callable[[jax.Array, int, int], Bistable]:
    def draw(key: jax.Array, inputs: int, hidden: int) -> Bistable:
        a, c, h, recurrent_a, recurrent_c = jax.random.split(key, 5)
        zeros = jnp.zeros((hidden,))
        return Bistable(
            input_a=_INPUT(a, (inputs, hidden)),
            input_c=_INPUT(c, (inputs, hidden)),
            input_h=_INPUT(h, (inputs, hidden)),
            recurrent_a=recurrent(recurrent_a, hidden),
            recurrent_c=recurrent(recurrent_c, hidden),
            bias_a=zeros,
            bias_c=zeros,
        )

    return draw


def _gru(key: jax.Array, inputs: int, hidden: int) -> Gated:
    return dataclasses.replace(_gated(key, inputs, hidden, 3), candidate_bias=jnp.zeros((hidden,)))


def _lstm(key: jax.Array, inputs: int, hidden: int) -> Gated:
    found = _gated(key, inputs, hidden, 4)
    return dataclasses.replace(found, bias=found.bias.at[hidden : 2 * hidden].set(1.0))


def _gated(key: jax.Array, inputs: int, hidden: int, gates: int) -> Gated:
    inward, recurrent = jax.random.split(key)
    shape = (inputs, gates * hidden), (hidden, gates * hidden)
    return Gated(
        input=_INPUT(inward, shape[0]), recurrent=_RECURRENT(recurrent, shape[1]), bias=jnp.zeros(shape[0][1:])
    )


@dataclasses.dataclass(frozen=True)
class _Cell:
    run: Callable[..., tuple[jax.Array, Any]]
    draw: Callable[[jax.Array, int, int], Any]
    """Initial parameters from a key, the size of an input and that of the state."""
    kind: type
    """Of the parameters."""
    states: int = 1
    """Vectors that go from one step to the next."""


CELLS: Mapping[str, _Cell] = MappingProxyType(
    {
        "brc": _Cell(brc, _bistable(lambda key, hidden: jnp.ones((hidden,))), Bistable),
        "nbrc": _Cell(nbrc, _bistable(lambda key, hidden: _RECURRENT(key, (hidden, hidden))), Bistable),
        "gru": _Cell(gru, _gru, Gated),
        "lstm": _Cell(lstm, _lstm, Gated, states=2),
    }
)


class RecurrentLayer(nnx.Module):
    """One cell over a sequence.

    Args:
      cell: which.
      inputs: features of an input.
      hidden: units.
      rngs: randomness of the initial parameters.
    """

    def __init__(self, cell: CellName, inputs: int, hidden: int, *, rngs: nnx.Rngs):
        self.cell, self.hidden = cell, hidden
        drawn = CELLS[cell].draw(rngs.params(), inputs, hidden)
        names = [field.name for field in dataclasses.fields(drawn)]
        self.weights = nnx.Dict({n: nnx.Param(getattr(drawn, n)) for n in names if getattr(drawn, n) is not None})

    def __call__(self, x: Float[Array, "B T I"], state: Any = None) -> tuple[Float[Array, "B T H"], Any]:
        """The state (an LSTM's output) after each step, and all that goes on to the next; ``state`` None is zeros."""
        cell = CELLS[self.cell]
        return cell.run(x, cell.kind(**{name: weight[...] for name, weight in self.weights.items()}), state)

    def empty_state(self, batch: int) -> Any:
        """The state before the first step."""
        zeros = jnp.zeros((batch, self.hidden), jnp.float32)
        return zeros if CELLS[self.cell].states == 1 else (zeros, zeros)


class RecurrentStack(nnx.Module):
    """Layers of one cell, each over the states of the one below.

    Args:
      cell: which.
      inputs: features of an input.
      hidden: units of each layer.
      depth: layers.
      rngs: randomness of the initial parameters.
    """

    def __init__(self, cell: CellName, inputs: int, hidden: int, depth: int, *, rngs: nnx.Rngs):
        sizes = [inputs] + [hidden] * (depth - 1)
        self.layers = nnx.List([RecurrentLayer(cell, size, hidden, rngs=rngs) for size in sizes])

    def __call__(self, x: Float[Array, "B T I"]) -> Float[Array, "B T H"]:
        """The states of the top layer."""
        for layer in self.layers:
            x, _ = layer(x)
        return x
