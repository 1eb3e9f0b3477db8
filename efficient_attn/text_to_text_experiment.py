"""An experiment with an encoder-decoder, which answers the tasks of GLUE and SuperGLUE in words."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.data.text_to_text import MixedTasks, MixtureBatches, TextMixture, shortened
from efficient_attn.data.text_to_text.submissions import write_answers
from efficient_attn.models import seq2seq_of
from efficient_attn.pair_experiment import PairExperiment
from efficient_attn.pair_reading import PairReading
from efficient_attn.tasks.language_modelling import Score, add_up
from efficient_attn.tasks.text_to_text import answers, benchmark_averages, check_scorers, task_scores, write_step
from efficient_attn.text_readings import Predictions


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextToTextExperiment(PairExperiment):
    """An encoder-decoder, the tasks that it is trained on together, and its training.

    ``start`` may be the workdir of another run with the same model and pieces, of whatever pairs.
    """

    source: TextMixture
    context: int = 512
    """Tokens of the sources in a training row, which holds as many as fit; longer ones are cut, here and in evaluation."""
    target_context: int = 128
    """Tokens of the targets in a training row; longer ones are cut to so many. Scores are of whole outputs."""
    label_smoothing: float = 0.0
    longest_output: int = 64
    """Tokens that an evaluation writes for an example at most."""

    def __post_init__(self):
        super().__post_init__()
        self.model.check_length(self.target_context, "row of training targets")
        self.model.check_length(self.longest_output, "longest_output")

    @property
    def reading(self) -> "TaskReading":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(TaskReading)]
        return TaskReading(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskReading(PairReading):
    """Examples of several tasks: several of one task in a row for training, one in a row for evaluation."""

    target_context: int
    longest_output: int

    @property
    def widths(self) -> tuple[int, int]:
        """Tokens of a training row of sources, and of one of targets."""
        return self.context, self.target_context

    def batches(self, split: MixedTasks) -> MixtureBatches:
        """The batches of every step, this process's rows of them; says what is cut.

        Raises:
          ValueError: if the pieces are not those of the model, or a task has nothing that is right.
        """
        self.check_pieces(split.pieces)
        batches = MixtureBatches(
            pairs=split.learned,
            rates=split.rates,
            widths=self.widths,
            batch_size=self.batch_size,
            seed=self.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        if any(batches.cut):
            pairs = sum(map(len, split.learned.values()))
            logging.getLogger(__name__).warning(
                "of %s pairs %s sources are cut to %s tokens and %s targets to %s",
                *(f"{n:,}" for n in (pairs, batches.cut[0], self.context, batches.cut[1], self.target_context)),
            )
        return batches

    def check(self, split: MixedTasks) -> None:
        """A ValueError if nothing of a split can be scored."""
        if not any(part.published for part in split.tasks):
            raise ValueError(f"there is nothing to score, as the data has no labels: {split.description}")

    def yardstick(self, split: MixedTasks) -> dict[str, Any]:
        """How many sources were cut, and how many targets before their likelihood was taken."""
        cut = np.count_nonzero(split.asked.lengths > np.array(self.widths), axis=0)
        return {"cut_sources": int(cut[0]), "cut_targets": int(cut[1])}

    def evaluator(self, placement: training.Placement) -> Callable[[Any, MixedTasks], dict[str, Any]]:
        """Scores splits, each process its share of the examples; compiled once for each width of their rows."""
        predict = self.predictor(placement)
        # Missed now, and not after hours of training.
        check_scorers()

        def evaluate(params: Any, split: MixedTasks) -> dict[str, Any]:
            self.check(split)
            return predict(params, split).scores

        return evaluate

    def predictor(self, placement: training.Placement) -> Callable[[Any, MixedTasks], Predictions]:
        """From parameters and a split, which may have no labels, to what is written for every example."""
        model, places = seq2seq_of(self.model), (placement.batches(), placement.replicated)
        likelihood, write = self.score_step(placement), write_step(model, self.longest_output, *places)

        def predict(params: Any, split: MixedTasks) -> Predictions:
            self.check_pieces(split.pieces)
            found = self._score(functools.partial(likelihood, params), split, placement)
            written = self._written(functools.partial(write, params), split, placement)
            loss = {} if found is None else {"loss": found.nats / found.tokens, "tokens": found.tokens}
            return _judged(split, written, loss)

        return predict

    def _score(self, step: Callable, split: MixedTasks, placement: training.Placement) -> Score | None:
        """The likelihood of what is right, where something is."""
        asked, chosen = split.asked, np.flatnonzero(split.answered)
        if not len(chosen):
            return None
        source, target = shortened(asked.source, self.context), shortened(asked.target, self.target_context)

        def batches():
            for _, mine, width in self.in_rows(source.lengths[chosen], placement, self.context):
                rows = [chosen[row] for row in mine]
                # Targets are short: one width for all costs less than a program for each.
                both = data.text_rows(target, rows, self.target_context, "target")
                yield both | data.text_rows(source, rows, width, "source")

        return add_up((step(batch) for batch in map(placement.feed, batches())), None)

    def _written(self, step: Callable, split: MixedTasks, placement: training.Placement) -> list[str]:
        """What the model writes for every example."""
        sources = shortened(split.asked.source, self.context)
        written = [""] * len(sources)
        for members, mine, width in self.in_rows(sources.lengths, placement, self.context):
            batch = placement.feed(data.text_rows(sources, mine, width, "source"))
            for text, tokens in zip(members, np.asarray(step(batch)), strict=False):
                written[text] = split.pieces.decode(tokens)
        return written


def _judged(split: MixedTasks, written: Sequence[str], loss: dict[str, Any]) -> Predictions:
    """The scores of all outputs, task after task, and what writes them."""
    begin, said, scores = 0, {}, {}
    for part in split.tasks:
        mine = written[begin : begin + len(part)]
        begin, said[part.task.name] = begin + len(part), answers(part.task, part.examples, mine)
        if part.published:
            scores[part.task.name] = task_scores(part.task, part.examples, said[part.task.name])
    flat = {f"{task}_{metric}": value for task, some in scores.items() for metric, value in some.items()}

    def write(folder: Path) -> None:
        for part in split.tasks:
            write_answers(folder, part.task, part.examples, said[part.task.name])

    return Predictions(scores=loss | benchmark_averages(scores) | flat | {"examples": len(split)}, write=write)
