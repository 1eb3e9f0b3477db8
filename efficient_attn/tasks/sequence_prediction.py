"""Prediction from whole sequences: squared error of numbers, or cross-entropy of a class, at the last steps."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from efficient_attn.models import Functional, RecurrentPredictor
from efficient_attn.tasks.language_modelling import cross_entropy

Batch = Mapping[str, Any]
Judge = Callable[[RecurrentPredictor, Batch], dict[str, jax.Array]]
"""From a model and a batch to its loss, and other scores, of each row ``[B]``."""


def squared_error(model: RecurrentPredictor, batch: Batch) -> dict[str, jax.Array]:
    """``loss``: the mean squared error of a row's targets ``[B, R, O]``."""
    found = model(batch["inputs"], batch["targets"].shape[1])
    return {"loss": jnp.square(found - batch["targets"]).mean((1, 2))}


def classification(model: RecurrentPredictor, batch: Batch) -> dict[str, jax.Array]:
    """``loss``: nats of the class ``[B, 1]``, read off the last state; ``accuracy``: whether it is the most probable."""
    logits = model(batch["inputs"])
    right = jnp.argmax(logits, axis=-1) == batch["targets"]
    return {"loss": cross_entropy(logits, batch["targets"])[:, 0], "accuracy": right[:, 0].astype(jnp.float32)}


@dataclasses.dataclass(frozen=True)
class SequencePrediction:
    """The training objective: the mean loss over rows, one term, ``"loss"``.

    Args:
      model: the form of a predictor.
      judge: ``squared_error`` or ``classification``.
      mean: makes a term of its sum and count.
    """

    model: Functional[RecurrentPredictor]
    judge: Judge
    mean: Any

    def counts(self, batch: Batch) -> dict[str, jax.Array]:
        """Rows."""
        return {"loss": jnp.asarray(batch["targets"].shape[0], jnp.float32)}

    def __call__(self, params: Any, batch: Batch, key: jax.Array | None, carry: Any):
        """The term, and the carry as it came."""
        losses = self.judge(self.model.module(params), batch)["loss"]
        return {"loss": self.mean(losses.sum(), self.counts(batch)["loss"])}, carry


def example_score_step(model: Functional[RecurrentPredictor], judge: Judge, rows: Any = None, whole: Any = None):
    """A jitted function from parameters and a batch of ``every_example`` to scores of each row, and which rows count.

    Args:
      model: the form of a predictor.
      judge: ``squared_error`` or ``classification``.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> tuple[dict[str, jax.Array], jax.Array]:
        return judge(model.module(params), batch), batch["scored"]

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)


def mean_scores(results: Iterable[tuple[Mapping[str, Any], Any]]) -> dict[str, float | int]:
    """Means over all rows that count, and their number, of what a step gives of all batches.

    Raises:
      ValueError: if there are none.
    """
    totals: dict[str, float] = {}
    count = 0
    for scores, counted in results:
        counted = np.asarray(counted)
        count += int(counted.sum())
        for name, values in scores.items():
            totals[name] = totals.get(name, 0.0) + float(np.asarray(values, np.float64)[counted].sum())
    if not count:
        raise ValueError("there was nothing to score: the split has no example")
    return {**{name: total / count for name, total in totals.items()}, "examples": count}
