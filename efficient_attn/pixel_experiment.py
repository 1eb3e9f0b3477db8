"""An experiment with a decoder that sees what comes after, and learns to tell the pixels that are taken away from its images."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Int32, Integer

from efficient_attn import data, training
from efficient_attn.experiment import Experiment
from efficient_attn.masked_experiment import DrawnBatches
from efficient_attn.models import DecoderConfig, decoder_of
from efficient_attn.models.image_gpt import check_masked
from efficient_attn.reading import Evaluator, Windows
from efficient_attn.tasks.language_modelling import score
from efficient_attn.tasks.masked_pixels import MaskedPixels, masked_pixels_score_step

# Part of the seed that keeps what is drawn for evaluation apart from what is drawn for training.
_EVALUATION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedPixelExperiment(Experiment):
    """A decoder whose patterns see what comes after, its images, what is taken away, and its training: BERT for pixels."""

    rate: float = 0.15
    """Pixels of an image that are not shown and are told, of all; at least one is."""
    eval_masks: int = 5
    """Draws of what is not shown that every evaluation averages over."""

    def __post_init__(self):
        super().__post_init__()
        check_masked(self.model, self.context)
        if self.eval_masks < 1:
            raise ValueError(f"eval_masks must be at least 1, got {self.eval_masks}")
        if self.eval_scored is not None:
            raise ValueError(f"images are masked whole; eval_scored must be None, got {self.eval_scored}")
        masking(self.model, self.rate)

    @property
    def reading(self) -> "MaskedImages":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(MaskedImages)]
        return MaskedImages(**{name: getattr(self, name) for name in names})


def masking(model: DecoderConfig, rate: float) -> data.Masking:
    """In place of a masked pixel there is nothing, which ``masked_logits`` has a number for."""
    return data.Masking(token=model.vocab + 1, rate=rate, hidden=1.0, changed=0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedImages(Windows):
    """Images, of each of which some pixels are taken away."""

    model: DecoderConfig
    rate: float
    eval_masks: int

    def drawn(self, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch of ``data.masked``."""
        return data.masked(batch, masking(self.model, self.rate), seed, first)

    def batches(self, stream: data.TokenStream) -> DrawnBatches:
        """The batches of every step, this process's rows of them."""
        return DrawnBatches(super().batches(stream), self.drawn)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        objective = MaskedPixels(decoder_of(self.model), self.label_smoothing, training.Mean)
        # What is counted are images.
        return {"objective": objective, "tokens": ""}

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to nats, tokens and right ones of each row; compiled."""
        return masked_pixels_score_step(decoder_of(self.model), placement.batches(), placement.replicated)

    def evaluator(self, placement: training.Placement) -> Evaluator:
        """Scores splits, each process its share of the images, each image with each of its masks; compiled once."""
        step = self.score_step(placement)
        windows, rows = data.EvaluationWindows(context=self.context, scored=self.context), self.eval_rows(placement)
        own = data.process_rows(rows, jax.process_index(), jax.process_count())

        def evaluate(params: Any, stream: data.TokenStream) -> dict[str, Any]:
            batches = data.evaluation_batches(stream, windows, rows, jax.process_index(), jax.process_count())
            seen = (
                self.drawn(batch, (self.seed, _EVALUATION, number), n * rows + own.start)
                for n, batch in enumerate(batches)
                for number in range(self.eval_masks)
            )
            return score(step, params, map(placement.feed, seen), None).report()

        return evaluate


def masked_inputs(
    config: MaskedPixelExperiment, tokens: Integer[np.ndarray, "B T"], number: int
) -> Int32[np.ndarray, "B T"]:
    """What the model is shown of images with the mask of a number, a function of the config's seed and an image's place alone."""
    batch = {"tokens": tokens.astype(np.int32), "valid": np.ones(tokens.shape, bool)}
    return config.reading.drawn(batch, (config.seed, _EVALUATION, number), 0)["inputs"]
