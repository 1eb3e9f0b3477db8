"""An experiment with an encoder-decoder, which learns to translate sentences."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.decoding import BeamOptions
from efficient_attn.models import seq2seq_of
from efficient_attn.pair_experiment import PairExperiment
from efficient_attn.pair_reading import PairReading
from efficient_attn.recipe import Recipe
from efficient_attn.restoring import restore
from efficient_attn.tasks import moses_bleu
from efficient_attn.tasks.bleu import corpus_scores, sacrebleu, signatures
from efficient_attn.tasks.language_modelling import add_up
from efficient_attn.tasks.translation import translate_step

Translator = Callable[[Any, data.Texts, data.Subwords], list[str]]
"""From parameters and sources to what their tokens are translated to, in pieces."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TranslationExperiment(PairExperiment):
    """An encoder-decoder, its data and its training."""

    source: data.SubwordPairs
    context: int
    """Tokens of a training row, on either side, which holds as many pairs as fit; longer sentences are not learned from."""
    label_smoothing: float = 0.1
    decoding: BeamOptions | None = dataclasses.field(default_factory=BeamOptions)
    """How held-out sentences are translated, which an evaluation may do otherwise; None: they are not."""
    resamples: int = 1000
    """Corpora drawn from the held-out one for the bounds of its scores; 1: there are no bounds."""

    def __post_init__(self):
        super().__post_init__()
        if self.decoding is not None and self.decoding.longest > self.model.longest:
            raise ValueError(
                f"decoding.longest must be at most the model's longest={self.model.longest}, got {self.decoding.longest}"
            )
        if self.resamples < 1:
            raise ValueError(f"resamples must be at least 1, got {self.resamples}")

    @property
    def reading(self) -> "PackedPairs":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(PackedPairs)]
        return PackedPairs(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PackedPairs(PairReading):
    """Pairs of sentences."""

    decoding: BeamOptions | None
    resamples: int

    def batches(self, pairs: data.TokenPairs) -> data.PairBatches:
        """The batches of every step, this process's rows of them; says what is not learned from.

        Raises:
          ValueError: if the pieces are not those of the model.
        """
        self.check_pieces(pairs.pieces)
        batches = data.PairBatches(
            pairs=pairs,
            context=self.context,
            batch_size=self.batch_size,
            seed=self.seed,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        if batches.too_long or batches.empty:
            logging.getLogger(__name__).warning(
                "of %s pairs %s have a side of more than %s tokens and %s an empty one: they are not learned from",
                *(f"{n:,}" for n in (len(pairs), batches.too_long, self.context, batches.empty)),
            )
        return batches

    def yardstick(self, pairs: data.TokenPairs) -> dict[str, Any]:
        """How many sentences were cut, what identifies the scores, and the score of leaving sentences as they are."""
        cut = np.count_nonzero(pairs.lengths > self.model.longest, axis=0)
        report = {"cut_sources": int(cut[0]), "cut_targets": int(cut[1])}
        if self.decoding is None:
            return report
        copied = corpus_scores(pairs.pairs.source, pairs.pairs.target)
        split = {"bleu_compound_split_signature": moses_bleu.signature(pairs.pairs.language)}
        return report | {"bleu_of_copying": copied["bleu"]} | signatures() | split

    def evaluator(self, placement: training.Placement) -> Callable[[Any, data.TokenPairs], dict[str, Any]]:
        """Scores splits, each process its share of the pairs; compiled once for each width of their rows."""
        step = self.score_step(placement)
        translated = None
        if self.decoding is not None:
            # Missed now, and not after hours of training.
            sacrebleu()
            moses_bleu.sacremoses()
            translated = self.translator(placement)

        def evaluate(params: Any, pairs: data.TokenPairs) -> dict[str, Any]:
            self.check_pieces(pairs.pieces)
            found = self.in_rows(pairs.lengths.max(axis=1), placement, self.model.longest)
            rows = (data.pair_rows(pairs, mine, width) for _, mine, width in found)
            scored = add_up((step(params, batch) for batch in map(placement.feed, rows)), None).report()
            # A token is not a byte here.
            report = {name: value for name, value in scored.items() if name != "bits_per_byte"}
            if translated is None:
                return report
            written = translated(params, pairs.source, pairs.pieces)
            right = pairs.pairs.target
            split = moses_bleu.compound_split_bleu(written, right, pairs.pairs.language)
            return report | corpus_scores(written, right, self.resamples) | {"bleu_compound_split": split}

        return evaluate

    def translator(self, placement: training.Placement) -> Translator:
        """Translates sources, each process its share of them; compiled once for each width of their rows.

        Raises:
          ValueError: if nothing says how.
        """
        if self.decoding is None:
            raise ValueError("decoding says how sentences are translated: it must not be None")
        step = translate_step(seq2seq_of(self.model), self.decoding, placement.batches(), placement.replicated)

        def translated(params: Any, sources: data.Texts, pieces: data.Subwords) -> list[str]:
            self.check_pieces(pieces)
            written = [""] * len(sources)
            for members, mine, width in self.in_rows(sources.lengths, placement, self.model.longest):
                batch = placement.feed(data.text_rows(sources, mine, width, "source"))
                for text, tokens in zip(members, np.asarray(step(params, batch)), strict=False):
                    written[text] = pieces.decode(tokens)
            return written

        return translated


def translate(config: TranslationExperiment, workdir: str, sentences: Sequence[str]) -> tuple[list[str], int]:
    """Translates sentences with the model of ``workdir``, and counts those that were cut to the longest that it takes."""
    pieces, placement = config.source.subwords.load(), config.mesh.placement()
    translated = config.reading.translator(placement)
    params, _ = restore(config, workdir, placement.parameters)
    if not len(sentences):
        return [], 0
    sources = pieces.encode(sentences)
    with jax.set_mesh(placement.mesh):
        written = translated(params, sources, pieces)
    return written, int(np.count_nonzero(sources.lengths > config.model.longest))


def translation(config: Recipe, path: str) -> TranslationExperiment:
    """``config``, which ``path`` names.

    Raises:
      ValueError: if it is of no translation.
    """
    if not isinstance(config, TranslationExperiment):
        raise ValueError(f"a config of translation is needed, and that of {path} is of type {type(config).__name__}")
    return config
