"""Examples from the files that both benchmarks publish, with the fields that TFDS gives them."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from efficient_attn.data.glue import GLUE, GLUE_TABLES, GLUETask
from efficient_attn.data.labelled_text import file_of_split, json_lines
from efficient_attn.data.source import Location
from efficient_attn.data.splits import Split
from efficient_attn.data.text_to_text.forms import Example
from efficient_attn.data.text_to_text.tasks import TextTask

Row = Mapping[str, Any]
_REMEDY = "unpack SuperGLUE's archives, each in the folder of its name, with train.jsonl, val.jsonl and test.jsonl"
_FILES = ("train.jsonl", "val.jsonl", "test.jsonl")
_SENTENCES, _INFERENCE = ("sentence1", "sentence2"), ("premise", "hypothesis")
# GLUE's texts by the names that TFDS gives them, in the order of the files.
_GLUE_FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "cola": ("sentence",),
        "sst2": ("sentence",),
        "mrpc": _SENTENCES,
        "stsb": _SENTENCES,
        "qqp": ("question1", "question2"),
        "mnli": _INFERENCE,
        "mnli_mismatched": _INFERENCE,
        "qnli": ("question", "sentence"),
        "rte": _SENTENCES,
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReleasedBenchmarks:
    """The archives of both benchmarks, each unpacked in the folder of its name."""

    glue: Location
    """Where the folders of GLUE are: ``CoLA``, ``SST-2``."""
    super_glue: Location
    """Where the folders of SuperGLUE are: ``BoolQ``, ``CB``."""

    def load(self, task: TextTask, split: Split) -> list[Example]:
        """The examples of a split; errors as of ``Source.load``."""
        if task.benchmark == "glue":
            return self._table(task, split)
        file = file_of_split(Path(self.super_glue) / task.folder, _FILES, split, _REMEDY)
        read = _READERS.get(task.folder, _plain)
        try:
            return [example for _, row in json_lines(file) for example in read(row, task)]
        except KeyError as error:
            raise ValueError(f"{file} should hold {task.folder}, and an object in it has no field {error}") from error

    def sizes(self, task: TextTask) -> list[tuple[str, int]]:
        """Names and sizes of the files of a task that are there."""
        base = Path(getattr(self, task.benchmark)).expanduser() / task.folder
        names = GLUE_TABLES[_glue_name(task)].files if task.benchmark == "glue" else _FILES
        found = [base / name for name in names]
        return [(f"{task.tfds} {path.name}", path.stat().st_size) for path in found if path.is_file()]

    def _table(self, task: TextTask, split: Split) -> list[Example]:
        """The rows of a table of GLUE."""
        name = _glue_name(task)
        texts = GLUE(task=name, path=Path(self.glue) / task.folder).load(split)
        columns: list[Sequence[str]] = [texts.firsts, *([] if texts.seconds is None else [texts.seconds])]
        labels = texts.labels or ["-1"] * len(texts)
        return [
            dict(zip(_GLUE_FIELDS[name], some, strict=True)) | {"label": _label(label, task), "idx": int(key)}
            for *some, label, key in zip(*columns, labels, texts.keys, strict=True)
        ]


def _glue_name(task: TextTask) -> GLUETask:
    return cast(GLUETask, task.name.removeprefix("glue_"))


def _label(written: Any, task: TextTask) -> int | float:
    """A class by its place; the files have its name, its place, or whether something is true."""
    if written in task.labels:
        return task.labels.index(written)
    return float(written) if task.kind == "numbers" else int(written)


def _plain(row: Row, task: TextTask) -> Iterator[Example]:
    kept = {name: value for name, value in row.items() if name not in ("label", "version")}
    yield kept | {"label": _label(row.get("label", -1), task), "idx": row["idx"]}


def _multirc(row: Row, task: TextTask) -> Iterator[Example]:
    """One example for each possible answer."""
    for question in row["passage"]["questions"]:
        for answer in question["answers"]:
            yield {
                "paragraph": row["passage"]["text"],
                "question": question["question"],
                "answer": answer["text"],
                "label": _label(answer.get("label", -1), task),
                "idx": {"paragraph": row["idx"], "question": question["idx"], "answer": answer["idx"]},
            }


def _record(row: Row, task: TextTask) -> Iterator[Example]:
    """One example for each query."""
    del task
    text = row["passage"]["text"]
    # Ends of entities are their last characters.
    entities = sorted({text[entity["start"] : entity["end"] + 1] for entity in row["passage"]["entities"]})
    for asked in row["qas"]:
        yield {
            "passage": text,
            "query": asked["query"],
            "entities": entities,
            "answers": sorted({answer["text"] for answer in asked.get("answers", ())}),
            "idx": {"passage": row["idx"], "query": asked["idx"]},
        }


def _wsc(row: Row, task: TextTask) -> Iterator[Example]:
    """The spans as they stand in the text, where they differ from it in case, a full stop or a line break."""
    kept = {"text": row["text"], "label": _label(row.get("label", -1), task), "idx": row["idx"], **row["target"]}
    for span in ("span1_text", "span2_text"):
        if kept[span] not in row["text"]:
            tidy = kept[span].rstrip(".").replace("\n", " ")
            forms = [tidy, tidy[:1].lower() + tidy[1:], tidy[:1].upper() + tidy[1:]]
            kept[span] = next((form for form in forms if form in row["text"]), kept[span])
    yield kept


_READERS: Mapping[str, Callable[[Row, TextTask], Iterator[Example]]] = MappingProxyType(
    {"MultiRC": _multirc, "ReCoRD": _record, "WSC": _wsc}
)
