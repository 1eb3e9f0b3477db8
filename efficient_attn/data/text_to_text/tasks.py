"""The tasks of GLUE and SuperGLUE as text to text: what goes in, what should come out, and what counts as what.

GLUE is without WNLI, as in T5's mixtures: WSC stands for it.

References:
  Wang et al., "GLUE: A Multi-Task Benchmark and Analysis Platform for Natural Language Understanding", 2019.
  Wang et al., "SuperGLUE: A Stickier Benchmark for General-Purpose Language Understanding Systems", 2019.
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, section 2.4.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from efficient_attn.data.splits import SPLITS, Split
from efficient_attn.data.text_to_text.forms import (
    Example,
    Form,
    listed,
    pronoun_marked,
    query,
    rounded,
    without_markup,
)

Kind = Literal["classes", "numbers", "questions", "entities", "referents"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextTask:
    """A task."""

    name: str
    tfds: str
    """Its name in TFDS."""
    column: str
    """Its column in published tables; the two dev sets of MNLI share one."""
    folder: str
    """Of the released archive."""
    submission: str
    """The name of the file that the benchmark takes."""
    form: Form
    """From an example to what the model reads."""
    labels: tuple[str, ...] = ()
    """What it should write for each class; none: something else."""
    kind: Kind = "classes"
    """What it should write: a class; a number; a class for each possible answer to a question; one of some entities; or what a
    pronoun stands for, which examples of the class False get wrong."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Those that tables print, whose mean is the task's score."""
    split_names: tuple[str | None, str, str] = SPLITS
    """TFDS's own names for train, validation and test; None: there is no such split."""

    @property
    def benchmark(self) -> str:
        """``glue`` or ``super_glue``."""
        return self.tfds.partition("/")[0]

    def split_name(self, split: Split) -> str | None:
        """TFDS's name of a split."""
        return self.split_names[SPLITS.index(split)]

    def right(self, example: Example) -> tuple[str, ...]:
        """All outputs that are right, the one first that is scored by its likelihood; none: they are not published, or there is
        none."""
        if self.kind == "entities":
            return tuple(example["answers"])
        if example["label"] < 0:
            return ()
        if self.kind == "numbers":
            return (rounded(example["label"]),)
        if self.kind == "referents":
            return (example["span1_text"],) if example["label"] == 1 else ()
        return (self.labels[example["label"]],)

    def place(self, written: str) -> int:
        """The class that an output names; -1 if it is no label."""
        return self.labels.index(written) if written in self.labels else -1

    def published(self, example: Example) -> bool:
        """Whether it is known what is right."""
        return bool(example["answers"]) if self.kind == "entities" else example["label"] >= 0


_TRUTH, _ENTAILMENT = ("False", "True"), ("entailment", "not_entailment")


def _glue(name: str, folder: str, *fields: str, **others: Any) -> TextTask:
    own = {"tfds": f"glue/{name}", "column": folder, "submission": f"{folder}.tsv", "form": listed(name, *fields)}
    return TextTask(name=f"glue_{name}", folder=folder, **(own | others))


def _mnli(name: str, which: str, train: str | None, submission: str) -> TextTask:
    return _glue(
        name,
        "MNLI",
        tfds="glue/mnli",
        form=listed("mnli", "hypothesis", "premise"),
        labels=("entailment", "neutral", "contradiction"),
        split_names=(train, f"validation_{which}", f"test_{which}"),
        submission=submission,
    )


def _super_glue(name: str, folder: str, *fields: str, **others: Any) -> TextTask:
    own = {"tfds": f"super_glue/{name}", "column": folder, "form": listed(name, *fields)}
    return TextTask(name=f"super_glue_{name}", folder=folder, submission=f"{folder}.jsonl", **(own | others))


_F1 = ("f1", "accuracy")
_ALL = (
    _glue("cola", "CoLA", "sentence", labels=("unacceptable", "acceptable"), metrics=("mcc",)),
    _glue("sst2", "SST-2", "sentence", column="SST", labels=("negative", "positive")),
    _glue("mrpc", "MRPC", "sentence1", "sentence2", labels=("not_equivalent", "equivalent"), metrics=_F1),
    _glue("stsb", "STS-B", "sentence1", "sentence2", column="STSB", kind="numbers", metrics=("pearson", "spearman")),
    _glue("qqp", "QQP", "question1", "question2", labels=("not_duplicate", "duplicate"), metrics=_F1),
    _mnli("mnli", "matched", "train", "MNLI-m.tsv"),
    _mnli("mnli_mismatched", "mismatched", None, "MNLI-mm.tsv"),
    _glue("qnli", "QNLI", "question", "sentence", labels=_ENTAILMENT),
    _glue("rte", "RTE", "sentence1", "sentence2", labels=_ENTAILMENT),
    _super_glue("boolq", "BoolQ", "passage", "question", labels=_TRUTH),
    _super_glue(
        "cb",
        "CB",
        "hypothesis",
        "premise",
        labels=("entailment", "contradiction", "neutral"),
        metrics=("macro_f1", "accuracy"),
    ),
    _super_glue(
        "copa", "COPA", "choice1", "choice2", "premise", "question", column="CoPA", labels=("choice1", "choice2")
    ),
    _super_glue(
        "multirc",
        "MultiRC",
        form=without_markup(listed("multirc", "question", "answer", "paragraph")),
        labels=_TRUTH,
        kind="questions",
        metrics=("f1a", "exact"),
    ),
    _super_glue("record", "ReCoRD", form=query, kind="entities", metrics=("f1", "exact")),
    _super_glue("rte", "RTE", "hypothesis", "premise", labels=_ENTAILMENT),
    # The paper prints an empty "pos:" first, which the data set in TFDS has no longer.
    _super_glue("wic", "WiC", "sentence1", "sentence2", "word", labels=_TRUTH),
    _super_glue("wsc", "WSC", tfds="super_glue/wsc.fixed", form=pronoun_marked, labels=_TRUTH, kind="referents"),
)
TEXT_TASKS: Mapping[str, TextTask] = MappingProxyType({task.name: task for task in _ALL})
"""By name."""
EN_MIX = tuple(TEXT_TASKS)
"""The tasks that a model of the Synthesizer's table is trained on beside what it is pre-trained on."""
