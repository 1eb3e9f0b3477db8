"""Training steps per second of stacked bistable cells, beside the loop over a cell that one writes in PyTorch."""

import dataclasses

import jax
import optax

from efficient_attn.bench.timing import median_ms
from efficient_attn.models import RecurrentConfig, predictor_of
from efficient_attn.nn.recurrent import CellName
from efficient_attn.tasks.sequence_prediction import squared_error

LENGTH, DEPTH, RATE = 300, 2, 1e-3


@dataclasses.dataclass(frozen=True)
class Shape:
    """What is trained to copy the first of ``LENGTH`` numbers: the published size, and the small one of short runs."""

    cell: CellName
    width: int
    batch: int


SHAPES = tuple(
    Shape(cell, width, batch) for width, batch in ((100, 100), (50, 50), (50, 10)) for cell in ("brc", "nbrc")
)


def ours(shape: Shape) -> float:
    """Steps per second of forward, backward and update."""
    model = predictor_of(RecurrentConfig(cell=shape.cell, width=shape.width, depth=DEPTH), 1, 1)
    optimizer = optax.adam(RATE)
    inputs = jax.random.normal(jax.random.key(1), (shape.batch, LENGTH, 1))
    batch = {"inputs": inputs, "targets": inputs[:, :1]}

    @jax.jit
    def step(params, state):
        gradients = jax.grad(lambda params: squared_error(model.module(params), batch)["loss"].mean())(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state

    params = model.init(jax.random.key(0))
    carried = params, optimizer.init(params)
    return 1e3 / median_ms(lambda: step(*carried), 5)
