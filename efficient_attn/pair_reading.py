"""How an encoder-decoder reads pairs of texts: what every kind of them has in common."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from efficient_attn import data, training
from efficient_attn.models import Seq2SeqConfig, seq2seq_of
from efficient_attn.tasks.routed_translation import RoutedTranslation
from efficient_attn.tasks.translation import Translation, pair_score_step


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairReading:
    """Pairs of texts: several in a row for training, one in a row for evaluation."""

    model: Seq2SeqConfig
    context: int
    batch_size: int
    seed: int
    label_smoothing: float
    z_loss: float
    eval_batch_size: int | None

    def blank(self) -> data.Batch:
        """A training batch of one row, which is all padding."""
        nothing = np.zeros(0, np.int32)
        texts = data.Texts(tokens=nothing, ends=nothing)
        widths = zip(("source", "target"), self.widths, strict=True)
        sides = (data.text_rows(texts, [nothing], width, name) for name, width in widths)
        return next(sides) | next(sides)

    def eval_blank(self) -> data.Batch:
        """An evaluation batch of one row as wide as one of training, which is all padding."""
        return self.blank()

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and a batch to nats, tokens and right ones of each row's targets; compiled for each width."""
        return pair_score_step(seq2seq_of(self.model), placement.batches(), placement.replicated)

    @property
    def widths(self) -> tuple[int, int]:
        """Tokens of a training row of sources, and of one of targets."""
        return self.context, self.context

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        form = seq2seq_of(self.model)
        if self.model.experts is not None:
            return {"objective": RoutedTranslation(form, self.label_smoothing, training.Mean, self.model, self.z_loss)}
        return {"objective": Translation(form, self.label_smoothing, training.Mean, self.z_loss)}

    def constraint(self) -> None:
        """Parameters may have any value."""
        return

    def in_rows(
        self, lengths: np.ndarray, placement: training.Placement, longest: int
    ) -> Iterator[tuple[np.ndarray, list[np.ndarray], int]]:
        """For each batch of texts of about one length: which they are, those of this process's rows, and the width.

        Args:
          lengths: tokens of each text.
          placement: where batches lie.
          longest: width of the widest rows.
        """
        rows = placement.filled(min(self.eval_batch_size or self.batch_size, len(lengths)))
        own = data.process_rows(rows, jax.process_index(), jax.process_count())
        for members, width in data.by_length(lengths, rows, longest):
            yield members, [members[row : row + 1] for row in own], width

    def check_pieces(self, pieces: data.Subwords) -> None:
        """A ValueError if the model does not know the pieces."""
        if len(pieces) > self.model.vocab:
            raise ValueError(
                f"there are {len(pieces)} pieces and the model has vocab={self.model.vocab}: they should agree"
            )
        for name in ("pad", "eos", "bos"):
            token, known = getattr(pieces, name), getattr(self.model, f"{name}_token")
            if token != known:
                raise ValueError(f"{name} is token {token} of the pieces, and the model has {name}_token={known}")
