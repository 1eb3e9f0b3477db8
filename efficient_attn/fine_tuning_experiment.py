"""An experiment with an encoder that is fine-tuned on labelled text."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import optax

from efficient_attn import candidate_reading, data, evidence_reading
from efficient_attn.answer_reading import Answering, AnswerReading
from efficient_attn.candidate_reading import CandidateReading, Choosing
from efficient_attn.coreference_reading import CoreferenceReading, Resolving
from efficient_attn.evidence_reading import Concluding, EvidenceReading
from efficient_attn.models import Encoder, EncoderConfig, Functional, Longformer, encoder_of
from efficient_attn.recipe import TRAINED, Recipe
from efficient_attn.tag_reading import TagReading
from efficient_attn.tasks.evidence import KINDS
from efficient_attn.text_readings import ChoiceReading, ClassReading, TextReading

Classed = data.GLUE | data.LabelledLines | data.TFDSLabelled
Labelled = Classed | data.SQuAD | data.CoNLL | data.ChoiceLines | data.WikiHop | data.HotpotQA | data.OntoNotes
_CLASSES = ("classification", "pooled_classification", "activated_classification")
# The way of reading that a source needs, and the heads that learn from it.
_READINGS: Mapping[type, tuple[type[TextReading], tuple[str, ...]]] = MappingProxyType(
    {
        data.GLUE: (ClassReading, _CLASSES),
        data.LabelledLines: (ClassReading, _CLASSES),
        data.TFDSLabelled: (ClassReading, _CLASSES),
        data.SQuAD: (AnswerReading, ("question_answering", "residual_question_answering")),
        data.CoNLL: (TagReading, ("token_classification",)),
        data.ChoiceLines: (ChoiceReading, ("multiple_choice",)),
        data.WikiHop: (CandidateReading, ("token_classification",)),
        data.HotpotQA: (EvidenceReading, ("evidence",)),
        data.OntoNotes: (CoreferenceReading, ("coreference",)),
    }
)
# The fields of an experiment that a way of reading takes beside those that all take.
_CHOICES: Mapping[type[TextReading], tuple[str, ...]] = MappingProxyType(
    {
        AnswerReading: ("answering",),
        CandidateReading: ("choosing",),
        EvidenceReading: ("concluding",),
        CoreferenceReading: ("resolving",),
    }
)
# Tokens of the data's own, which a checkpoint's vocabulary does not have.
_MARKS: Mapping[type, int] = MappingProxyType(
    {data.WikiHop: candidate_reading.MARKS, data.HotpotQA: evidence_reading.MARKS}
)
# What a checkpoint of another head does not say of the body.
_OWN = (*TRAINED, "head", "head_activation", "labels", "linking", "pooler")
_OWN_OF_ATTENTION = ("max_globals",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuningExperiment(Recipe):
    """An encoder with a head, labelled texts, and its training.

    ``start`` may be a checkpoint's folder as of ``load_pretrained``, or the workdir of another run, whatever its head: all but the
    head is taken from there, and the head is drawn.
    """

    model: EncoderConfig
    source: Labelled
    tokenizer: str
    """A folder with ``tokenizer.json``, or ``vocab.txt``, or ``vocab.json`` and ``merges.txt``: the checkpoint's."""
    context: int
    """Tokens of a text, or of both texts of a pair, special ones included; all are filled up to so many, and longer ones cut."""
    answering: Answering = dataclasses.field(default_factory=Answering)
    """How questions are put and answered, where the data has some."""
    choosing: Choosing = dataclasses.field(default_factory=Choosing)
    """How much is read before one of some candidates is chosen, where the data has some."""
    concluding: Concluding = dataclasses.field(default_factory=Concluding)
    """What of several paragraphs is handed on to another run, where the data has some."""
    resolving: Resolving = dataclasses.field(default_factory=Resolving)
    """How much of a document is read, where the data has mentions in documents."""
    head_rate: float = 1.0
    """The learning rate of the head, as a multiple of that of all else."""

    def __post_init__(self):
        super().__post_init__()
        _, heads = _READINGS[type(self.source)]
        if self.model.head not in heads:
            raise ValueError(
                f"{type(self.source).__name__} is learned by a head {' or '.join(heads)}, got {self.model.head!r}"
            )
        if self.head_rate <= 0:
            raise ValueError(f"head_rate must be positive, got {self.head_rate}")
        self.model.check_context(self.context)
        if self.model.heads % self.mesh.model:
            raise ValueError(f"mesh.model must divide the {self.model.heads} heads, got {self.mesh.model}")
        if isinstance(self.source, data.SQuAD):
            self._check_answering()
        if isinstance(self.source, Classed):
            self._check_labels(self.source)
        if isinstance(self.source, data.WikiHop) and len(self.model.labels) != 1:
            raise ValueError(f"a candidate has one score: labels needs one name, got {self.model.labels}")
        if isinstance(self.source, data.HotpotQA) and self.model.labels != KINDS:
            raise ValueError(
                f"an answer is of one of the kinds {KINDS}: labels should be these, got {self.model.labels}"
            )

    def _check_answering(self) -> None:
        # A frame has at most four special tokens.
        room, attention = self.context - self.answering.question - 4, self.model.attention
        if room <= self.answering.stride:
            raise ValueError(
                f"context={self.context} leaves {room} tokens for a text beside a question of {self.answering.question}, which "
                f"must be more than answering.stride={self.answering.stride}"
            )
        if isinstance(attention, Longformer) and attention.max_globals <= self.answering.question:
            raise ValueError(
                f"a question of {self.answering.question} tokens and the one before it are global: max_globals must be more, got "
                f"{attention.max_globals}"
            )

    def _check_labels(self, source: Classed) -> None:
        labels = self.model.labels
        if source.numbers and len(labels) != 1:
            raise ValueError(f"a number is learned by a model with one label, got {labels}")
        if isinstance(source, data.GLUE) and source.table.labels and labels != source.table.labels:
            raise ValueError(f"labels of the model should be {source.table.labels} for {source.task}, got {labels}")

    @property
    def form(self) -> Functional[Encoder]:
        """The model's form."""
        return encoder_of(self.model)

    @property
    def _pieces(self) -> data.Pieces:
        return data.Pieces(folder=self.tokenizer, context=self.context)

    @property
    def reading(self) -> TextReading:
        """How the model reads its data."""
        kind, _ = _READINGS[type(self.source)]
        names = ("model", "source", "batch_size", "seed", "eval_batch_size")
        return kind(pieces=self._pieces, **{name: getattr(self, name) for name in (*names, *_CHOICES.get(kind, ()))})

    def update(self) -> optax.GradientTransformation:
        """What makes an update of a gradient, the head's at its own rate."""
        if self.head_rate == 1.0:
            return super().update()
        return optax.chain(super().update(), optax.masked(optax.scale(self.head_rate), _of_head))

    def fields(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is learned and how it runs, as JSON objects; a tokenizer is what is in its files, wherever they lie."""
        learned, runs = super().fields()
        return learned | {"tokenizer": self._pieces.fingerprint()}, runs

    def inherited(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that a checkpoint to start from must agree with."""
        kept = {name: value for name, value in model.items() if name not in _OWN}
        if type(self.source) in _MARKS:
            # It may be smaller by the marks: see ``completed``.
            kept.pop("vocab")
        attention = {name: value for name, value in kept["attention"].items() if name not in _OWN_OF_ATTENTION}
        return kept | {"attention": attention}

    def scored(self, model: dict[str, Any]) -> dict[str, Any]:
        """As ``inherited``, with the head and its labels: those of a checkpoint that does not name them are taken to be these."""
        mine, names = list(self.model.labels), model["labels"]
        unnamed = names == [f"LABEL_{number}" for number in range(len(mine))]
        return self.inherited(model) | {"head": model["head"], "labels": mine if unnamed else names}

    def completed(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters of another run's model, with a head, and a pooler where they have none, that are drawn.

        Where the data has marks of its own that the model does not know, their embeddings are drawn too.
        """
        kept = {name: part for name, part in params.items() if name != "head"}
        if type(self.source) in _MARKS:
            kept |= {"embedding": kept["embedding"] | {"tokens": self._marked(kept["embedding"]["tokens"])}}
        wanted = [name for name in self.form.shapes() if name not in kept]
        draw = jax.jit(lambda key: {name: part for name, part in self.form.init(key).items() if name in wanted})
        # On the host, from where every process can put them beside the others.
        whole = kept | jax.tree.map(np.asarray, draw(jax.random.key(self.seed)))
        return {name: part for name, part in whole.items() if name != "pooler" or self.model.pooler}

    def _marked(self, table: Any) -> Any:
        """A table of tokens that has a row for each mark."""
        marks = _MARKS[type(self.source)]
        if table.shape[0] != self.model.vocab - marks:
            return table
        draw = jax.jit(lambda key: self.form.init(key)["embedding"]["tokens"][-marks:])
        return np.concatenate([table, np.asarray(draw(jax.random.key(self.seed)), table.dtype)])


def _of_head(params: dict[str, Any]) -> dict[str, Any]:
    """Marks the parameters of the head."""
    return {name: jax.tree.map(lambda _, own=name == "head": own, part) for name, part in params.items()}
