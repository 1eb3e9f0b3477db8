"""Several tasks at once: their examples as pairs of texts to learn from, and as texts to be answered."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from efficient_attn.data.pairs import Pairs
from efficient_attn.data.splits import Split
from efficient_attn.data.subwords import SentencePieces, Subwords, TokenPairs
from efficient_attn.data.text_to_text.forms import Example
from efficient_attn.data.text_to_text.prepared import PreparedBenchmarks
from efficient_attn.data.text_to_text.rates import mixing_rates
from efficient_attn.data.text_to_text.released import ReleasedBenchmarks
from efficient_attn.data.text_to_text.tasks import EN_MIX, TEXT_TASKS, TextTask


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TaskExamples:
    """One split of one task."""

    task: TextTask
    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def published(self) -> bool:
        """Whether it is known what is right."""
        return all(map(self.task.published, self.examples))

    def learned(self) -> Pairs | None:
        """A pair for every right output of every example: texts, and what to write for them; None: there is nothing right."""
        pairs = [(self.task.form(example), right) for example in self.examples for right in self.task.right(example)]
        return self._pairs(*map(list, zip(*pairs, strict=True))) if pairs else None

    def asked(self) -> Pairs:
        """A pair for every example, in order; what to write is "" where nothing is right or it is not published."""
        right = [self.task.right(example) for example in self.examples]
        return self._pairs([self.task.form(example) for example in self.examples], [(*one, "")[0] for one in right])

    def _pairs(self, source: Sequence[str], target: Sequence[str]) -> Pairs:
        return Pairs(source=source, target=target, description=f"{self.task.name}: {len(source):,} pairs")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MixedTasks:
    """One split of several tasks."""

    tasks: tuple[TaskExamples, ...]
    pieces: Subwords
    limit: int | None
    temperature: float
    split: Split

    def __len__(self) -> int:
        return sum(map(len, self.tasks))

    @property
    def description(self) -> str:
        """Exactly which data this is."""
        counts = ", ".join(f"{part.task.name} {len(part):,}" for part in self.tasks)
        return f"{self.split} of {counts} examples, in {len(self.pieces):,} pieces {self.pieces.digest}"

    @functools.cached_property
    def learned(self) -> dict[str, TokenPairs]:
        """The pairs of each task that has some, by its name."""
        found = {part.task.name: part.learned() for part in self.tasks}
        return {name: self._encoded(pairs) for name, pairs in found.items() if pairs is not None}

    @property
    def rates(self) -> dict[str, float]:
        """The share of each task among the pairs that are learned from."""
        return mixing_rates({name: len(pairs) for name, pairs in self.learned.items()}, self.limit, self.temperature)

    @functools.cached_property
    def asked(self) -> TokenPairs:
        """A pair for every example, task after task; what to write is only its end where ``answered`` is False."""
        return self._encoded(joined([part.asked() for part in self.tasks], self.description))

    @property
    def answered(self) -> Bool[np.ndarray, " n"]:
        """For every example, whether something is right."""
        return np.array([bool(part.task.right(example)) for part in self.tasks for example in part.examples])

    def _encoded(self, pairs: Pairs) -> TokenPairs:
        source, target = self.pieces.encode(pairs.source), self.pieces.encode(pairs.target)
        return TokenPairs(source=source, target=target, pairs=pairs, pieces=self.pieces)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextMixture:
    """Tasks of GLUE and SuperGLUE, each in proportion to its examples.

    Raises:
        ValueError: There is no task, or one of another name.
    """

    benchmarks: ReleasedBenchmarks | PreparedBenchmarks
    subwords: SentencePieces
    tasks: tuple[str, ...] = EN_MIX
    limit: int | None = 2**19
    """Examples that a task counts as at most."""
    temperature: float = 1.0
    """Of the rates: 1 is in proportion, and a large one makes all tasks equal."""

    def __post_init__(self):
        unknown = [name for name in self.tasks if name not in TEXT_TASKS]
        if unknown or not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks must be some of {', '.join(TEXT_TASKS)}, each once; got {self.tasks}")

    def load(self, split: Split) -> MixedTasks:
        """Reads one split of those tasks that have it; see ``Source.load``."""
        options = {"limit": self.limit, "temperature": self.temperature}
        return MixedTasks(tasks=self._examples(split), pieces=self.subwords.load(), split=split, **options)

    def sentences(self, split: Split) -> Pairs:
        """What is learned from, as it is before it is taken apart."""
        found = filter(None, (part.learned() for part in self._examples(split)))
        return joined(list(found), f"{split} of {', '.join(self.tasks)}")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        sizes = sorted({size for name in self.tasks for size in self.benchmarks.sizes(TEXT_TASKS[name])})
        how = (type(self.benchmarks).__name__, self.tasks, self.limit, self.temperature, self.subwords.load().digest)
        return hashlib.blake2b(repr((how, sizes)).encode(), digest_size=8).hexdigest()

    def _examples(self, split: Split) -> tuple[TaskExamples, ...]:
        tasks = [TEXT_TASKS[name] for name in self.tasks]
        there = [task for task in tasks if task.split_name(split) is not None]
        if not there:
            raise ValueError(f"none of {', '.join(self.tasks)} has a {split} split")
        return tuple(TaskExamples(task=task, examples=self.benchmarks.load(task, split)) for task in there)


def joined(parts: Sequence[Pairs], description: str) -> Pairs:
    """The pairs of all parts, in order."""
    source, target = ([text for part in parts for text in getattr(part, side)] for side in ("source", "target"))
    return Pairs(source=source, target=target, description=description)
