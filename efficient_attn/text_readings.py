"""How an encoder reads labelled texts in training, and how its results become scores and predictions."""

import abc
import dataclasses
import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.models import EncoderConfig, Longformer, encoder_of
from efficient_attn.tasks.class_scores import class_scores, number_scores
from efficient_attn.tasks.fine_tuning import ClassLoss, FineTuning, Loss, NumberLoss, results_step

Results = Mapping[str, np.ndarray]
"""Of all examples in order: the model's logits, and where the data has labels ``loss`` and ``count``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a model says of a split."""

    scores: dict[str, Any]
    write: Callable[[Path], None]
    """Writes what it says in the form that the task's scorer takes."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextReading(abc.ABC):
    """Labelled texts, encoded whole before the first step."""

    model: EncoderConfig
    source: Any
    pieces: data.Pieces
    batch_size: int
    seed: int
    eval_batch_size: int | None

    @property
    @abc.abstractmethod
    def loss(self) -> Loss:
        """What is learned."""

    @abc.abstractmethod
    def texts(self, split: Any) -> tuple[Sequence[str], Sequence[str] | None]:
        """What the model reads, and what each is paired with."""

    @abc.abstractmethod
    def encode(self, split: Any) -> data.EncodedTexts:
        """A split as the model reads it."""

    @abc.abstractmethod
    def predictions(self, split: Any, examples: data.EncodedTexts, results: Results) -> Predictions:
        """What the model's results say, and how right that is where the data has labels."""

    def encoded(self, split: Any) -> data.EncodedTexts:
        """As ``encode``, remembered.

        Raises:
          ValueError: if the tokenizer is not the model's, or a label is not known to it.
        """
        return _encoded(self, split)

    def check(self, split: Any) -> None:
        """A ValueError if a split cannot be scored."""
        if "targets" not in self.encoded(split).arrays:
            raise ValueError(f"there is nothing to score, as the data has no labels: {split.description}")

    def batches(self, split: Any) -> data.ExampleBatches:
        """The batches of every step, this process's rows of them; says how many texts were cut."""
        examples = self.encoded(split)
        if examples.truncated and not jax.process_index():
            cut = f"{examples.truncated:,} of {examples.lengths.size:,} are cut to {self.pieces.context} tokens"
            print(f"{examples.description}: {cut}", file=sys.stderr)
        processes = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        return data.ExampleBatches(examples=examples, batch_size=self.batch_size, seed=self.seed, **processes)

    @abc.abstractmethod
    def blank_targets(self) -> np.ndarray:
        """What a text of zeros teaches, as targets of one row."""

    def blank(self) -> data.Batch:
        """A training batch of one row, of a text of zeros."""
        tokens = np.zeros((1, self.pieces.context), np.int32)
        rows = {"tokens": tokens, "types": tokens.astype(np.int8), "valid": np.ones(tokens.shape, bool)}
        return rows | {"targets": self.blank_targets()}

    def eval_blank(self) -> data.Batch:
        """An evaluation batch of one row, of a text of zeros."""
        return {**self.blank(), "scored": np.ones(1, bool)}

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to logits, losses and their counts; compiled."""
        return results_step(encoder_of(self.model), self.loss, placement.batches(), placement.replicated)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        return {"objective": FineTuning(encoder_of(self.model), self.loss, training.Mean), "tokens": ""}

    def constraint(self) -> None:
        """Parameters may have any value."""
        return

    def yardstick(self, split: Any) -> dict[str, Any]:
        """Nothing."""
        del split
        return {}

    def evaluator(self, placement: training.Placement) -> Callable[[Any, Any], dict[str, Any]]:
        """Scores splits, each process its share of the examples; compiled once."""
        predict = self.predictor(placement)

        def evaluate(params: Any, split: Any) -> dict[str, Any]:
            self.check(split)
            return predict(params, split).scores

        return evaluate

    def predictor(self, placement: training.Placement) -> Callable[[Any, Any], Predictions]:
        """From parameters and a split, which may have no labels, to predictions of every example."""
        step = self.score_step(placement)
        rows = placement.filled(self.eval_batch_size or self.batch_size)

        def predict(params: Any, split: Any) -> Predictions:
            examples = self.encoded(split)
            batches = data.every_example(examples, rows, jax.process_index(), jax.process_count())
            results = joined([step(params, placement.feed(batch)) for batch in batches])
            found = self.predictions(split, examples, results)
            loss = {"loss": float(results["loss"].sum() / results["count"].sum())} if "loss" in results else {}
            counted = {"examples": len(split), "truncated": examples.truncated}
            return dataclasses.replace(found, scores=loss | found.scores | counted)

        return predict


@functools.lru_cache(maxsize=2)
def _encoded(reading: TextReading, split: Any) -> data.EncodedTexts:
    attention, model = reading.model.attention, reading.model
    separator = attention.sep_token if isinstance(attention, Longformer) else None
    reading.pieces.check(model.vocab, model.pad_token, separator)
    return reading.encode(split)


def joined(batches: list[Mapping[str, Any]]) -> Results:
    """The rows of all batches that are ``scored``."""
    kept = [np.asarray(batch["scored"]) for batch in batches]
    names = [name for name in batches[0] if name != "scored"]
    return {
        name: np.concatenate([np.asarray(b[name])[k] for b, k in zip(batches, kept, strict=True)]) for name in names
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassReading(TextReading):
    """Texts and pairs with a class or a number."""

    source: data.GLUE | data.LabelledLines | data.TFDSLabelled

    @property
    def loss(self) -> ClassLoss:
        """What is learned."""
        return NumberLoss() if self.source.numbers else ClassLoss()

    def texts(self, split: data.LabelledTexts) -> tuple[Sequence[str], Sequence[str] | None]:
        """What the model reads, and what each is paired with."""
        return split.firsts, split.seconds

    def blank_targets(self) -> np.ndarray:
        """The first class, or 0."""
        return np.zeros(1, np.float32 if self.source.numbers else np.int32)

    def encode(self, split: data.LabelledTexts) -> data.EncodedTexts:
        """A split as the model reads it."""
        rows = data.padded(self.pieces.framed(*self.texts(split)), self.pieces.context, self.model.pad_token)
        targets = {} if split.labels is None else {"targets": self._targets(split)}
        return data.EncodedTexts(arrays=rows.arrays | targets, **rows.counted, description=split.description)

    def _targets(self, split: data.LabelledTexts) -> np.ndarray:
        if self.source.numbers:
            return np.array([_number(label, split, n) for n, label in enumerate(split.labels or ())], np.float32)
        places = {name: place for place, name in enumerate(self.model.labels)}
        for key, label in zip(split.keys, split.labels or (), strict=True):
            if label not in places:
                raise ValueError(
                    f"label {label!r} of example {key} is none of the model's labels {self.model.labels}: {split.description}"
                )
        return np.array([places[label] for label in split.labels or ()], np.int32)

    def predictions(self, split: data.LabelledTexts, examples: data.EncodedTexts, results: Results) -> Predictions:
        """A class or a number for each example, and their scores."""
        logits, right = results["logits"], examples.arrays.get("targets")
        if self.source.numbers:
            # GLUE's numbers are from 0 to 5, as its scorer wants them.
            found: np.ndarray = np.clip(logits[:, 0], 0, 5) if isinstance(self.source, data.GLUE) else logits[:, 0]
            scores = {} if right is None else number_scores(found, right)
            said = [f"{number:.3f}" for number in found]
        else:
            found = np.argmax(logits, axis=1)
            labels = self.model.labels
            most = {} if right is None else {"majority": float(np.bincount(right).max() / len(right))}
            scores = {} if right is None else class_scores(found, right, len(labels)) | most
            said = [labels[place] for place in found]
        return Predictions(scores=scores, write=lambda path: data.write_submission(path, split.keys, said))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceReading(TextReading):
    """Texts, each paired with all of its choices."""

    source: data.ChoiceLines

    @property
    def loss(self) -> ClassLoss:
        """What is learned."""
        return ClassLoss()

    def texts(self, split: data.Choices) -> tuple[Sequence[str], Sequence[str]]:
        """Each text once for each of its choices."""
        pairs = [(text, choice) for text, some in zip(split.texts, split.choices, strict=True) for choice in some]
        return [text for text, _ in pairs], [choice for _, choice in pairs]

    def blank_targets(self) -> np.ndarray:
        """Refuses: only the data knows how many choices a text has.

        Raises:
          ValueError: always.
        """
        raise ValueError("how many choices a text has is known from the data alone, so that a row of them has no shape")

    def encode(self, split: data.Choices) -> data.EncodedTexts:
        """A split as the model reads it.

        Raises:
          ValueError: if choices have more tokens than the model's attention has global ones.
        """
        count = len(split.choices[0])
        rows = data.padded(self.pieces.framed(*self.texts(split)), self.pieces.context, self.model.pad_token)
        self._check_globals(rows.arrays["tokens"], rows.lengths)
        arrays = {name: array.reshape(-1, count, array.shape[-1]) for name, array in rows.arrays.items()}
        if split.labels is not None:
            arrays["targets"] = np.array(split.labels, np.int32)
        lengths = rows.lengths.reshape(-1, count)
        return data.EncodedTexts(
            arrays=arrays, lengths=lengths, truncated=rows.truncated, description=split.description
        )

    def _check_globals(self, tokens: np.ndarray, lengths: np.ndarray) -> None:
        attention = self.model.attention
        if not isinstance(attention, Longformer) or attention.sep_token is None:
            return
        # What follows the first text and two separators is global.
        most = int((lengths - np.argmax(tokens == attention.sep_token, axis=1) - 2).max())
        if most > attention.max_globals:
            raise ValueError(
                f"choices of {most} tokens are global: max_globals must be as many, got {attention.max_globals}"
            )

    def predictions(self, split: data.Choices, examples: data.EncodedTexts, results: Results) -> Predictions:
        """The best choice of each text, from 0, and how many are right."""
        found = np.argmax(results["logits"], axis=1)
        right = examples.arrays.get("targets")
        scores = {} if right is None else {"accuracy": float(np.mean(found == right))}
        return Predictions(
            scores=scores, write=lambda path: data.write_submission(path, split.keys, [str(n) for n in found])
        )


def _number(label: str, split: data.LabelledTexts, place: int) -> float:
    try:
        return float(label)
    except ValueError:
        raise ValueError(
            f"label {label!r} of example {split.keys[place]} should be a number: {split.description}"
        ) from None
