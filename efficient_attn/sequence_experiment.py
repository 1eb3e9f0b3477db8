"""An experiment with a recurrent model, which predicts from whole sequences."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from efficient_attn import data, training
from efficient_attn.models import Functional, RecurrentConfig, RecurrentPredictor, predictor_of
from efficient_attn.recipe import Recipe
from efficient_attn.tasks.sequence_prediction import (
    Judge,
    SequencePrediction,
    classification,
    example_score_step,
    mean_scores,
    squared_error,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceExperiment(Recipe):
    """A recurrent model, its data and its training."""

    model: RecurrentConfig
    source: data.CopyFirst | data.Denoising | data.PaddedDigits

    def __post_init__(self):
        super().__post_init__()
        if self.mesh.sequence != 1:
            raise ValueError(
                f"a recurrent model reads whole sequences: mesh.sequence must be 1, got {self.mesh.sequence}"
            )

    @property
    def form(self) -> Functional[RecurrentPredictor]:
        """The model's form."""
        return predictor_of(self.model, self.source.inputs, self.source.outputs)

    @property
    def reading(self) -> "WholeSequences":
        """How the model reads its data."""
        return WholeSequences(
            form=self.form,
            judge=classification if self.source.classes else squared_error,
            batch_size=self.batch_size,
            seed=self.seed,
            eval_batch_size=self.eval_batch_size,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WholeSequences:
    """Sequences of which each is an example."""

    form: Functional[RecurrentPredictor]
    judge: Judge
    batch_size: int
    seed: int
    eval_batch_size: int | None

    def batches(self, examples: data.Examples) -> data.ExampleBatches:
        """The batches of every step, this process's rows of them."""
        processes = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        return data.ExampleBatches(examples=examples, batch_size=self.batch_size, seed=self.seed, **processes)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        return {"objective": SequencePrediction(self.form, self.judge, training.Mean), "tokens": ""}

    def constraint(self) -> None:
        """Parameters may have any value."""
        return

    def yardstick(self, examples: data.Examples) -> dict[str, Any]:
        """Nothing."""
        return {}

    def evaluator(self, placement: training.Placement) -> Callable[[Any, data.Examples], dict[str, Any]]:
        """Scores splits, each process its share of the examples; compiled once."""
        step = example_score_step(self.form, self.judge, placement.batches(), placement.replicated)
        rows = placement.filled(self.eval_batch_size or self.batch_size)

        def evaluate(params: Any, examples: data.Examples) -> dict[str, Any]:
            batches = data.every_example(examples, rows, jax.process_index(), jax.process_count())
            return mean_scores(step(params, batch) for batch in map(placement.feed, batches))

        return evaluate
