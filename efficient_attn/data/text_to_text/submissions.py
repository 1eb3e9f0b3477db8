"""The files that both benchmarks take."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from efficient_attn.data.glue import GLUE_TABLES
from efficient_attn.data.labelled_text import write_submission
from efficient_attn.data.text_to_text.forms import Example
from efficient_attn.data.text_to_text.tasks import TextTask
from efficient_attn.files import replacing


def write_answers(folder: Path, task: TextTask, examples: Sequence[Example], answers: Sequence[Any]) -> None:
    """Writes the file of a task.

    Args:
      folder: where it goes, by the name that the benchmark gives it.
      task: which one.
      examples: what was asked, in order.
      answers: classes by their places, of which -1 counts as the first; numbers; or texts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / task.submission
    if task.benchmark == "glue":
        said = [_glue_answer(task, answer) for answer in answers]
        write_submission(file, [str(example["idx"]) for example in examples], said)
        return
    if task.kind == "questions":
        lines = _passages(examples, answers)
    else:
        lines = [
            {"idx": example["idx"]["query"] if task.kind == "entities" else example["idx"], "label": _label(task, one)}
            for example, one in zip(examples, answers, strict=True)
        ]
    with replacing(file) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _glue_answer(task: TextTask, answer: Any) -> str:
    if task.kind == "numbers":
        return f"{min(max(answer, 0.0), 5.0):.3f}"
    # Files with labels of 0 and 1 are answered so.
    numbered = GLUE_TABLES[task.name.removeprefix("glue_")].labels == ("0", "1")
    return str(max(answer, 0)) if numbered else task.labels[max(answer, 0)]


def _label(task: TextTask, answer: Any) -> str | int:
    if task.kind == "entities":
        return answer
    answer = max(answer, 0)
    if task.folder == "COPA":
        return answer
    # Winograd's schemas alone have their truth in capitals.
    return task.labels[answer].lower() if task.folder in ("BoolQ", "WiC") else task.labels[answer]


def _passages(examples: Sequence[Example], answers: Sequence[int]) -> list[Mapping[str, Any]]:
    """MultiRC's answers below their questions, below their passages."""
    passages: dict[int, dict[int, list[Mapping[str, int]]]] = {}
    for example, answer in zip(examples, answers, strict=True):
        place = example["idx"]
        questions = passages.setdefault(place["paragraph"], {})
        questions.setdefault(place["question"], []).append({"idx": place["answer"], "label": max(answer, 0)})
    return [
        {"idx": passage, "passage": {"questions": [{"idx": n, "answers": some} for n, some in questions.items()]}}
        for passage, questions in passages.items()
    ]
