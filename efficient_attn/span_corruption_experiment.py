"""An experiment with an encoder-decoder, which learns to write the spans that are taken out of a text."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.masked_experiment import DrawnBatches
from efficient_attn.pair_experiment import PairExperiment
from efficient_attn.pair_reading import PairReading
from efficient_attn.tasks.language_modelling import add_up

# The part of the seed that keeps what is drawn for evaluation apart from what is drawn for training.
_EVALUATION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCorruptionExperiment(PairExperiment):
    """An encoder-decoder, its text, which spans it has to write, and its training.

    The first sentinel is token ``learned_pieces + sentinels - 1``, the next ones are below it; tokens above are never used.
    """

    source: data.SubwordText
    context: int = 512
    """Tokens of a source: a window of the text is as long as fills it, 568 tokens, and its target then has 114."""
    corruption: data.SpanCorruption = dataclasses.field(default_factory=data.SpanCorruption)
    """Which tokens are taken out. In evaluation they are drawn once, from the seed."""
    learned_pieces: int = 32_000
    """Pieces of words."""
    sentinels: int = 100
    """Tokens that may stand for spans, after the pieces."""
    label_smoothing: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        window = self.corruption.window(self.context)
        self.model.check_length(self.corruption.lengths(window)[1], "target of a whole window")
        spans = self.corruption.hidden(window)[1]
        if self.sentinels < spans:
            raise ValueError(
                f"a window of {window} tokens has {spans} spans: sentinels must be as many, got {self.sentinels}"
            )
        if self.learned_pieces < 1 or self.learned_pieces + self.sentinels > self.model.vocab:
            raise ValueError(
                f"learned_pieces and sentinels must fit the model's vocab={self.model.vocab}, got {self.learned_pieces} and "
                f"{self.sentinels}"
            )

    @property
    def reading(self) -> "CorruptedWindows":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(CorruptedWindows)]
        return CorruptedWindows(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptedWindows(PairReading):
    """Windows of a text, one in a row, out of each of which spans are taken."""

    source: data.SubwordText
    corruption: data.SpanCorruption
    learned_pieces: int
    sentinels: int

    @property
    def window(self) -> int:
        """Tokens of a window of the text."""
        return self.corruption.window(self.context)

    @property
    def widths(self) -> tuple[int, int]:
        """Tokens of a row of sources, and of one of targets."""
        return self.corruption.lengths(self.window)

    def batches(self, stream: data.TokenStream) -> DrawnBatches:
        """The batches of every step, this process's rows of them.

        Raises:
          ValueError: if the pieces are not those of the model.
        """
        self._check(stream)
        windows = data.TrainingBatches(
            stream=stream,
            context=self.window,
            batch_size=self.batch_size,
            seed=self.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        return DrawnBatches(windows, self.drawn)

    def drawn(self, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch of ``data.corrupted``, from a seed and the place of the first row."""
        sentinel = self.learned_pieces + self.sentinels - 1
        return data.corrupted(batch, self.corruption, sentinel, self.model.eos_token, seed, first)

    def yardstick(self, stream: data.TokenStream) -> dict[str, Any]:
        """Nats per token of all targets for a code that knows how often each token is in them, and nothing else."""
        counts = np.zeros(self.model.vocab, np.int64)
        for batch in self._held_out(stream, self.batch_size, range(self.batch_size)):
            counts += np.bincount(batch["target"][batch["target_segments"] > 0], minlength=len(counts))
        shares = counts[counts > 0] / counts.sum()
        return {"frequency_loss": float(-np.sum(shares * np.log(shares)))}

    def evaluator(self, placement: training.Placement) -> Callable[[Any, data.TokenStream], dict[str, Any]]:
        """Scores splits, each process its share of the windows; compiled once."""
        step = self.score_step(placement)
        rows = placement.filled(self.eval_batch_size or self.batch_size)
        own = data.process_rows(rows, jax.process_index(), jax.process_count())

        def evaluate(params: Any, stream: data.TokenStream) -> dict[str, Any]:
            self._check(stream)
            found = self._held_out(stream, rows, own)
            scored = add_up((step(params, batch) for batch in map(placement.feed, found)), None).report()
            # A token of a target is no part of the text's bytes.
            return {name: value for name, value in scored.items() if name != "bits_per_byte"}

        return evaluate

    def _held_out(self, stream: data.TokenStream, rows: int, own: range) -> Iterator[data.Batch]:
        """Windows side by side, each with what is drawn for its place, however many are in a batch."""
        windows = data.side_by_side(self.window)
        share = (own.start // len(own), rows // len(own))
        for number, batch in enumerate(data.evaluation_batches(stream, windows, rows, *share)):
            yield self.drawn(batch, (self.seed, _EVALUATION), number * rows + own.start)

    def _check(self, stream: data.TokenStream) -> None:
        """A ValueError if the model does not know the pieces."""
        self.check_pieces(self.source.subwords.load())
        if stream.vocab_size != self.learned_pieces:
            raise ValueError(f"there are {stream.vocab_size} pieces, and learned_pieces={self.learned_pieces}")
