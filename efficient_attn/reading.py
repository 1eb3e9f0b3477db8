"""How a language model reads its data in training and evaluation: windows drawn at random, or segments that follow each other."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.models import AdaptiveSpan, DecoderConfig, decoder_of
from efficient_attn.models.segment_decoder import (
    Memory,
    clamp_spans,
    empty_memory,
    initial_limits,
    limits_of,
    mean_spans,
    multiply_adds,
    resize,
)
from efficient_attn.tasks.language_modelling import LanguageModelling, score, score_step
from efficient_attn.tasks.routed_modelling import RoutedModelling
from efficient_attn.tasks.segment_modelling import SegmentModelling, score_segments, segment_score_step

Evaluator = Callable[[Any, data.TokenStream], dict[str, Any]]
"""From parameters and a split to scores."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows of a text, each read by itself."""

    model: DecoderConfig
    context: int
    """Tokens in a window."""
    batch_size: int
    seed: int
    label_smoothing: float
    eval_scored: int | None
    eval_batch_size: int | None

    def batches(self, stream: data.TokenStream) -> data.TrainingBatches | data.ContiguousBatches:
        """The batches of every step, this process's rows of them.

        Raises:
          ValueError: if the stream may hold tokens that the model does not know.
        """
        if stream.vocab_size > self.model.vocab:
            raise ValueError(
                f"the data has tokens below {stream.vocab_size} and the model has vocab={self.model.vocab}: they should agree"
            )
        return data.TrainingBatches(
            stream=stream,
            context=self.context,
            batch_size=self.batch_size,
            seed=self.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            align=stream.record_length,
        )

    def blank(self) -> data.Batch:
        """A training batch of one row, of a text of zeros."""
        zeros = data.TokenStream(tokens=np.zeros(self.context, np.uint8), vocab_size=1, description="zeros")
        return dataclasses.replace(self, batch_size=1).batches(zeros).at(0)

    def eval_blank(self) -> data.Batch:
        """An evaluation batch of one row, of a text of zeros."""
        return {**self.blank(), "scored": np.ones((1, self.context), bool)}

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        if self.model.experts is not None:
            routed = RoutedModelling(decoder_of(self.model), self.label_smoothing, training.Mean, self.model)
            return {"objective": routed}
        return {"objective": LanguageModelling(decoder_of(self.model), self.label_smoothing, training.Mean)}

    def constraint(self) -> Callable[[Any], Any] | None:
        """What parameters must obey after every update; None: nothing."""
        return None

    def yardstick(self, stream: data.TokenStream) -> dict[str, Any]:
        """What a general compressor, and codes that know little, make of the same tokens."""
        return data.yardsticks(stream)

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to nats, tokens and right ones of each row; compiled."""
        return score_step(decoder_of(self.model), placement.batches(), placement.replicated)

    def evaluator(self, placement: training.Placement) -> Evaluator:
        """Scores splits, each process its share of the windows; compiled once."""
        step = self.score_step(placement)
        scored = self.context if self.eval_scored is None else self.eval_scored
        windows = data.EvaluationWindows(context=self.context, scored=scored)
        rows = self.eval_rows(placement)

        def evaluate(params: Any, stream: data.TokenStream) -> dict[str, Any]:
            batches = data.evaluation_batches(stream, windows, rows, jax.process_index(), jax.process_count())
            found = score(step, params, map(placement.feed, batches), stream.words)
            return dataclasses.replace(found, bytes_per_token=stream.bytes_per_token).report()

        return evaluate

    def eval_rows(self, placement: training.Placement) -> int:
        """Rows of an evaluation batch; some without a token fill it up where it does not divide among the devices."""
        return placement.filled(self.eval_batch_size or self.batch_size)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segments(Windows):
    """Parallel readings of a text in segments, each with a memory of those before it."""

    def __post_init__(self):
        if self.eval_scored is not None:
            raise ValueError(
                f"segments are scored whole, with a memory; eval_scored must be None, got {self.eval_scored}"
            )

    def batches(self, stream: data.TokenStream) -> data.ContiguousBatches:
        """The segments of every step, this process's rows of them."""
        return data.ContiguousBatches(
            stream=stream,
            context=self.context,
            batch_size=self.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def eval_blank(self) -> data.Batch:
        """A segment of one row, of a text of zeros."""
        return self.blank()

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        return {
            "objective": SegmentModelling(decoder_of(self.model), self.label_smoothing, training.Mean),
            "carry": lambda: empty_memory(self.model, initial_limits(self.model), self.batch_size),
            "reshape_carry": self._reshape,
        }

    def constraint(self) -> Callable[[Any], Any] | None:
        """What parameters must obey after every update; None: nothing."""
        return clamp_spans if self.model.attention.spans == "heads" else None

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters, a segment and a memory to nats, tokens and right ones of each row, and the memory."""
        del placement
        return segment_score_step(decoder_of(self.model))

    def evaluator(self, placement: training.Placement) -> Evaluator:
        """Scores splits, and tells the spans; compiled once for each set of limits. Every process scores all of a split."""
        step = self.score_step(placement)
        rows = self.eval_batch_size or self.batch_size

        def evaluate(params: Any, stream: data.TokenStream) -> dict[str, Any]:
            batches = data.ContiguousBatches(stream=stream, context=self.context, batch_size=rows)
            segments = (batches.at(step) for step in range(batches.steps_per_epoch))
            memory = empty_memory(self.model, limits_of(self.model, params), rows)
            return score_segments(step, params, segments, memory, stream.words).report() | self._spans(params)

        return evaluate

    def _reshape(self, params: Any, carry: Memory) -> Memory:
        limits = limits_of(self.model, params)
        held = tuple(layer["inputs"].shape[1] for layer in carry["layers"])
        return carry if limits == held else resize(carry, limits)

    def _spans(self, params: Any) -> dict[str, float]:
        """The mean span of all layers and of each, and the multiply-adds of a token."""
        spans = mean_spans(self.model, params)
        if spans is None:
            return {}
        mean = sum(spans) / len(spans)
        layers = {f"span_of_layer_{n}": span for n, span in enumerate(spans, start=1)}
        return {"span": mean, "multiply_adds": multiply_adds(self.model, mean), **layers}


def reading_of(**fields: Any) -> Windows:
    """The way of reading that a model needs, from the fields of ``Windows``."""
    return (Segments if isinstance(fields["model"].attention, AdaptiveSpan) else Windows)(**fields)
