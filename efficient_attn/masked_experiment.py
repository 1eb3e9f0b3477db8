"""An experiment with an encoder, which learns to tell the tokens that are taken away from its windows."""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax

from efficient_attn import data, training
from efficient_attn.experiment import Experiment
from efficient_attn.models import Encoder, EncoderConfig, Functional, encoder_of
from efficient_attn.reading import Evaluator, Windows
from efficient_attn.tasks.language_modelling import score
from efficient_attn.tasks.masked_modelling import MaskedModelling, masked_score_step

# Parts of the seed that keep what is drawn for training and for evaluation apart.
_TRAINING, _EVALUATION = 0, 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedExperiment(Experiment):
    """An encoder, its data, what is taken away, and its training."""

    model: EncoderConfig
    masking: data.Masking = dataclasses.field(default_factory=data.Masking)
    """Which tokens the model has to tell. In evaluation they are drawn once, from the seed."""

    def __post_init__(self):
        super().__post_init__()
        if self.model.head != "masked_lm":
            raise ValueError(f"an encoder that tells tokens needs head='masked_lm', got {self.model.head!r}")
        if self.masking.token >= self.model.vocab:
            raise ValueError(f"masking.token must be below vocab={self.model.vocab}, got {self.masking.token}")
        if self.eval_scored is not None:
            raise ValueError(f"windows are masked whole; eval_scored must be None, got {self.eval_scored}")

    @property
    def form(self) -> Functional[Encoder]:
        """The model's form."""
        return encoder_of(self.model)

    @property
    def reading(self) -> "MaskedWindows":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(MaskedWindows)]
        return MaskedWindows(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TellingWindows(Windows, abc.ABC):
    """Windows of a text, of each of which some tokens are drawn that the model has to tell."""

    model: EncoderConfig
    masking: data.Masking

    @abc.abstractmethod
    def drawn(self, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch with what the model is shown and has to tell, from a seed and the place of the first row."""

    @abc.abstractmethod
    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to nats, tokens and right ones of each row; compiled."""

    def batches(self, stream: data.TokenStream) -> "DrawnBatches":
        """The batches of every step, this process's rows of them."""
        return DrawnBatches(super().batches(stream), self.drawn)

    def evaluator(self, placement: training.Placement) -> Evaluator:
        """Scores splits, each process its share of the windows; compiled once."""
        step = self.score_step(placement)
        windows, rows = data.EvaluationWindows(context=self.context, scored=self.context), self.eval_rows(placement)
        own = data.process_rows(rows, jax.process_index(), jax.process_count())

        def evaluate(params: Any, stream: data.TokenStream) -> dict[str, Any]:
            batches = data.evaluation_batches(stream, windows, rows, jax.process_index(), jax.process_count())
            seed = (self.seed, _EVALUATION)
            seen = (self.drawn(b, seed, n * rows + own.start) for n, b in enumerate(batches))
            return score(step, params, map(placement.feed, seen), None).report()

        return evaluate


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedWindows(TellingWindows):
    """Windows of a text, of each of which some tokens are taken away."""

    def drawn(self, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch of ``data.masked``."""
        return data.masked(batch, self.masking, seed, first)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        return {"objective": MaskedModelling(encoder_of(self.model), self.label_smoothing, training.Mean)}

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to nats, tokens and right ones of each row."""
        return masked_score_step(encoder_of(self.model), placement.batches(), placement.replicated)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnBatches:
    """Training batches with what the model is shown and has to tell: a function of seed, step and process, as they are."""

    batches: data.TrainingBatches | data.ExampleBatches
    drawn: Callable[[data.Batch, tuple[int, ...], int], data.Batch]

    def at(self, step: int) -> data.Batch:
        """This process's rows of the batch of one step."""
        return self._of(self.batches.at(step), step)

    def iterate(self, start_step: int = 0) -> Iterator[data.Batch]:
        """Yields ``at(start_step)``, ``at(start_step + 1)``, ... without end."""
        for step, batch in enumerate(self.batches.iterate(start_step), start=start_step):
            yield self._of(batch, step)

    def _of(self, batch: data.Batch, step: int) -> data.Batch:
        whole = self.batches
        own = data.process_rows(whole.batch_size, whole.process_index, whole.process_count)
        return self.drawn(batch, (whole.seed, _TRAINING), step * whole.batch_size + own.start)
