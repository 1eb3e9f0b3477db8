"""An experiment with a decoder of images, which is fine-tuned to tell their classes."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.masked_experiment import DrawnBatches
from efficient_attn.models import DecoderConfig, Functional, ImageReader, ImageReaderConfig, image_reader_of
from efficient_attn.models.decoder_config import RECOMPUTED
from efficient_attn.models.image_gpt import check_masked
from efficient_attn.pixel_experiment import masking
from efficient_attn.recipe import TRAINED, Recipe
from efficient_attn.tasks.image_classes import ClassAndPixels, image_class_step
from efficient_attn.tasks.linear_probe import most_frequent
from efficient_attn.text_readings import Predictions, Results, joined

# Parts of the seed that keep apart what is drawn for evaluation, and how images are moved.
_EVALUATION, _MOVING = 1, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class NextPixels:
    """An image is read pixel after pixel, and each is told from those before it."""

    draws: int = 1
    """Times that an image is read in evaluation."""

    def __post_init__(self):
        if self.draws != 1:
            raise ValueError(f"an image is read in one way: draws must be 1, got {self.draws}")

    def check(self, model: DecoderConfig, context: int) -> None:
        """A ValueError if a model cannot read so."""

    def shown(self, model: DecoderConfig, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch with ``inputs``, what the model is shown, and ``told``, what it has to tell."""
        del seed, first
        tokens = batch["tokens"]
        # The number after the last colour is the start.
        start = np.full((len(tokens), 1), model.vocab, tokens.dtype)
        return {**batch, "inputs": np.concatenate([start, tokens[:, :-1]], axis=1), "told": batch["valid"]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedPixels:
    """Some pixels of an image are taken away, and told from all others."""

    rate: float = 0.15
    """Of all pixels."""
    draws: int = 5
    """Times that an image is read in evaluation, each with other pixels; the class that is found most often counts."""

    def __post_init__(self):
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}")

    def check(self, model: DecoderConfig, context: int) -> None:
        """A ValueError if a model cannot read so."""
        check_masked(model, context)
        masking(model, self.rate)

    def shown(self, model: DecoderConfig, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch with ``inputs``, what the model is shown, and ``told``, what it has to tell."""
        return data.masked(batch, masking(model, self.rate), seed, first)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageClassExperiment(Recipe):
    """A decoder of images with a head, images with classes, and its training.

    ``start`` may be the workdir of a language model of images, or of another run of this kind, or a checkpoint's folder as of
    ``load_pretrained`` that holds a ``Decoder``. The head begins at 0.
    """

    model: ImageReaderConfig
    source: data.ImageClasses
    context: int
    """Tokens of an image."""
    reads: NextPixels | MaskedPixels = NextPixels()
    """How images are read, which should be how the model was pre-trained."""
    generative: float = 1.0
    """Weight of the loss of the images' tokens beside that of their classes; 0: none."""
    moving: data.Moving | None = None
    """How images are moved in training; None: they are not."""

    def __post_init__(self):
        super().__post_init__()
        decoder = self.model.decoder
        decoder.check_context(self.context)
        self.reads.check(decoder, self.context)
        if self.model.labels is None:
            raise ValueError("a model that tells classes has as many labels as there are classes, got labels=None")
        if not self.generative >= 0.0:
            raise ValueError(f"generative must be at least 0, got {self.generative}")
        if self.mesh.sequence != 1:
            raise ValueError(f"images are not split: mesh.sequence must be 1, got {self.mesh.sequence}")

    @property
    def form(self) -> Functional[ImageReader]:
        """The model's form."""
        return image_reader_of(self.model)

    @property
    def origin(self) -> DecoderConfig:
        """The model that a pretrained one to start from must be."""
        return self.model.decoder

    @property
    def reading(self) -> "ClassedImages":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(ClassedImages)]
        return ClassedImages(**{name: getattr(self, name) for name in names})

    def parametrised(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that its parameters depend on."""
        decoder = {name: value for name, value in (model.get("decoder") or {}).items() if name not in RECOMPUTED}
        return model | {"decoder": decoder}

    def inherited(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a decoder, as JSON, that a pretrained one to start from must agree with."""
        return {name: value for name, value in model.items() if name not in TRAINED}

    def scored(self, model: dict[str, Any]) -> dict[str, Any]:
        """As ``inherited``, of the decoder of a reader, with the number of its labels."""
        return self.inherited(model["decoder"]) | {"labels": model["labels"]}

    def completed(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters of a decoder, or those of a run's, with a head of 0."""
        decoder = params.get("decoder", params)
        score = self.form.shapes()["score"]
        return {"decoder": decoder, "score": jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), score)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassedImages:
    """Images, each with its class."""

    model: ImageReaderConfig
    context: int
    batch_size: int
    seed: int
    eval_batch_size: int | None
    reads: NextPixels | MaskedPixels
    generative: float
    moving: data.Moving | None

    def batches(self, images: data.LabelledImages) -> DrawnBatches:
        """The batches of every step, this process's rows of them.

        Raises:
          ValueError: if the images are not of the model's tokens, length or classes.
        """
        self._check(images)
        processes = {"process_index": jax.process_index(), "process_count": jax.process_count()}
        batches = data.ExampleBatches(examples=images, batch_size=self.batch_size, seed=self.seed, **processes)
        return DrawnBatches(batches, lambda batch, seed, first: self._drawn(images, batch, seed, first))

    def blank(self) -> data.Batch:
        """A training batch of one black image."""
        tokens = np.zeros((1, self.context), np.int32)
        batch = {"tokens": tokens, "valid": np.ones(tokens.shape, bool), "targets": np.zeros(1, np.int32)}
        return self.reads.shown(self.model.decoder, batch, (self.seed,), 0)

    def eval_blank(self) -> data.Batch:
        """An evaluation batch of one black image."""
        return {**self.blank(), "scored": np.ones(1, bool)}

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to what is found of each image; compiled."""
        return image_class_step(image_reader_of(self.model), placement.batches(), placement.replicated)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        return {"objective": ClassAndPixels(image_reader_of(self.model), self.generative, training.Mean), "tokens": ""}

    def constraint(self) -> None:
        """Parameters may have any value."""
        return

    def yardstick(self, images: data.LabelledImages) -> dict[str, Any]:
        """The share of the class that most images are of."""
        return {"majority": float(np.bincount(images.labels).max() / len(images))}

    def check(self, images: data.LabelledImages) -> None:
        """A ValueError if a split cannot be scored."""
        self._check(images)

    def evaluator(self, placement: training.Placement) -> Callable[[Any, data.LabelledImages], dict[str, Any]]:
        """Scores splits, each process its share of the images; compiled once."""
        predict = self.predictor(placement)
        return lambda params, images: predict(params, images).scores

    def predictor(self, placement: training.Placement) -> Callable[[Any, data.LabelledImages], Predictions]:
        """From parameters and a split to the class of every image, found most often over the draws."""
        step = self.score_step(placement)
        rows = placement.filled(self.eval_batch_size or self.batch_size)

        def predict(params: Any, images: data.LabelledImages) -> Predictions:
            self._check(images)
            draws = [self._read(step, params, images, draw, rows, placement) for draw in range(self.reads.draws)]
            found = most_frequent(np.stack([draw["found"] for draw in draws]), self.seed)
            scores = {"loss": _mean(draws, "nats"), "accuracy": float(np.mean(found == images.labels))}
            tokens = {"token_loss": _mean(draws, "tokens")} if "tokens" in draws[0] else {}
            said = [images.classes[label] for label in found]
            keys = [str(number) for number in range(len(images))]
            return Predictions(
                scores=scores | tokens | {"examples": len(images)},
                write=lambda path: data.write_submission(path, keys, said),
            )

        return predict

    def _read(
        self, step: Any, params: Any, images: data.LabelledImages, draw: int, rows: int, placement: training.Placement
    ) -> Results:
        """What the model finds of every image, with one drawing of what it is shown."""
        process = jax.process_index(), jax.process_count()
        own = data.process_rows(rows, *process)
        seed, decoder = (self.seed, _EVALUATION, draw), self.model.decoder
        seen = (
            self.reads.shown(decoder, batch, seed, number * rows + own.start)
            for number, batch in enumerate(data.every_example(images, rows, *process))
        )
        return joined([step(params, batch) for batch in map(placement.feed, seen)])

    def _drawn(self, images: data.LabelledImages, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        if self.moving is not None:
            batch = data.moved(batch, self.moving, images.shape, (*seed, _MOVING), first)
        return self.reads.shown(self.model.decoder, batch, seed, first)

    def _check(self, images: data.LabelledImages) -> None:
        wanted = {
            "vocab": (images.vocab_size, self.model.decoder.vocab),
            "context": (images.tokens.shape[1], self.context),
            "labels": (len(images.classes), self.model.labels),
        }
        for name, (found, mine) in wanted.items():
            if found != mine:
                raise ValueError(f"the data has {name}={found} and the model {name}={mine}: they should agree")


def _mean(draws: Sequence[Results], name: str) -> float:
    return float(np.mean([draw[name] for draw in draws], dtype=np.float64))
