"""What outputs of text-to-text tasks say, and how right that is, as the released code of T5 scores them.

An output that is no label is wrong, whatever was right. Scores are shares of 1.

References:
  Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, and its released code.
  Khashabi et al., "Looking Beyond the Surface", 2018 (MultiRC: F1 over all answers, and questions answered without a mistake).
  Zhang et al., "ReCoRD", 2018 (F1 and exact match, the best over the right entities, as SQuAD's).
"""

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from efficient_attn.data.text_to_text import TEXT_TASKS, Example, TextTask
from efficient_attn.decoding import greedy
from efficient_attn.models import Functional, Seq2Seq
from efficient_attn.tasks.answers import exact, overlap
from efficient_attn.tasks.class_scores import class_scores, number_scores
from efficient_attn.tasks.translation import Batch, texts

Scores = dict[str, float]
# Words that make no difference to what a pronoun stands for, by the released code.
_ARTICLES = (
    "a",
    "an",
    "the",
    "this",
    "that",
    "these",
    "those",
    "which",
    "some",
    "few",
    "many",
    "much",
    "each",
    "every",
)
_DETERMINERS = frozenset([*_ARTICLES, "my", "your", "his", "her", "our", "their", "whose"])
_NO_NUMBER = -1.0


def write_step(model: Functional[Seq2Seq], longest: int, rows: Any = None, whole: Any = None):
    """A jitted function from parameters and a batch of sources, one a row, to the output for each, token by token the most
    probable one.

    Args:
      model: an encoder-decoder's form.
      longest: tokens of an output at most, its end included.
      rows: sharding of the batch, for a mesh; None: as it comes.
      whole: sharding in which every process can read the result.
    """

    def step(params: Any, batch: Batch) -> jax.Array:
        return greedy(model, params, texts(batch, "source"), longest)

    return jax.jit(step, in_shardings=(None, rows), out_shardings=whole)


def answers(task: TextTask, examples: Sequence[Example], written: Sequence[str]) -> list[Any]:
    """What outputs say of examples: the place of a class, -1 for none; a number, -1 for none; or an entity, as it is written."""
    if task.kind == "numbers":
        return [_number(text) for text in written]
    if task.kind == "entities":
        return list(written)
    if task.kind == "referents":
        named = [same_referent(text, one["span1_text"]) for one, text in zip(examples, written, strict=True)]
        return list(map(int, named))
    return [task.place(text) for text in written]


def task_scores(task: TextTask, examples: Sequence[Example], said: Sequence[Any]) -> Scores:
    """The metrics of a task that tables print, and ``accuracy`` of classes.

    Args:
      task: which one.
      examples: those of a whole split, or MultiRC's questions may lack answers.
      said: of ``answers``.

    Raises:
      ModuleNotFoundError: if scikit-learn or scipy is not installed.
    """
    found = _SCORERS[task.kind](task, examples, said)
    return {name: value for name, value in found.items() if name in (*task.metrics, "accuracy")}


def check_scorers() -> None:
    """A ModuleNotFoundError if scikit-learn or scipy is not installed."""
    class_scores(np.arange(2), np.arange(2), 2)
    number_scores(np.arange(2.0), np.arange(2.0))


def benchmark_averages(scores: Mapping[str, Scores]) -> Scores:
    """``glue_average`` and ``super_glue_average``, each only where all its tasks were scored.

    A task counts with the mean of its metrics, and MNLI with that of both its dev sets.

    Args:
      scores: of ``task_scores``, by the task's name.
    """
    averages = {}
    for benchmark in ("glue", "super_glue"):
        columns = collections.defaultdict(list)
        for task in TEXT_TASKS.values():
            if task.benchmark == benchmark:
                columns[task.column] += [scores.get(task.name, {}).get(metric, math.nan) for metric in task.metrics]
        average = float(np.mean([np.mean(column) for column in columns.values()]))
        averages |= {} if math.isnan(average) else {f"{benchmark}_average": average}
    return averages


def same_referent(written: str, referent: str) -> bool:
    """Whether all words of one are among the other's, but for determiners and capitals; and both have an apostrophe, or neither."""
    both = [_content(text) for text in (written, referent)]
    if ("'" in both[0]) != ("'" in both[1]):
        # "Bob" is not "Bob's hat".
        return False
    first, second = (set(text.split(" ")) for text in both)
    return first <= second or second <= first


def _content(text: str) -> str:
    return " ".join(word for word in text.strip().lower().split(" ") if word not in _DETERMINERS)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return _NO_NUMBER
    return number if math.isfinite(number) else _NO_NUMBER


def _classes(task: TextTask, examples: Sequence[Example], said: Sequence[int]) -> Scores:
    right, found = (np.array(side) for side in ([example["label"] for example in examples], said))
    scores = class_scores(found, right, len(task.labels))
    if len(task.labels) == 2:
        # What is no label is the wrong one of two.
        scores["f1"] = class_scores(np.where(found < 0, 1 - right, found), right, 2)["f1"]
    return scores


def _numbers(task: TextTask, examples: Sequence[Example], said: Sequence[float]) -> Scores:
    del task
    return number_scores(np.array(said, float), np.array([example["label"] for example in examples], float))


def _questions(task: TextTask, examples: Sequence[Example], said: Sequence[int]) -> Scores:
    whole = collections.defaultdict(list)
    for example, one in zip(examples, said, strict=True):
        whole[example["idx"]["paragraph"], example["idx"]["question"]].append(one == example["label"])
    scores = _classes(task, examples, said)
    return {"f1a": scores["f1"], "exact": float(np.mean([all(answers) for answers in whole.values()]))}


def _entities(task: TextTask, examples: Sequence[Example], said: Sequence[str]) -> Scores:
    del task
    each = [(example["answers"], text) for example, text in zip(examples, said, strict=True)]
    measures = {"f1": overlap, "exact": exact}
    return {name: float(np.mean([of(text, right) for right, text in each])) for name, of in measures.items()}


_SCORERS: Mapping[str, Callable[[TextTask, Sequence[Example], Sequence[Any]], Scores]] = MappingProxyType(
    {
        "classes": _classes,
        "numbers": _numbers,
        "questions": _questions,
        "entities": _entities,
        "referents": _classes,
    }
)
