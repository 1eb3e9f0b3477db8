"""What experiments with an encoder-decoder, which learns from pairs of texts, have in common."""

import dataclasses
from typing import Any

from efficient_attn.models import Functional, Seq2Seq, Seq2SeqConfig, seq2seq_of
from efficient_attn.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairExperiment(Recipe):
    """An encoder-decoder, its data and its training; the source has ``subwords``, its pieces, and ``sentences``."""

    model: Seq2SeqConfig
    source: Any
    context: int
    """Tokens of the sources in a training row."""
    label_smoothing: float
    z_loss: float = 0.0
    """Keeps logits small: so many times the square of their log-sum-exp is added to a token's loss in training. T5's code: 1e-4."""

    def __post_init__(self):
        super().__post_init__()
        self.model.check_length(self.context, "row of training texts")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {self.label_smoothing}")
        if self.z_loss < 0:
            raise ValueError(f"z_loss must be at least 0, got {self.z_loss}")
        if self.mesh.sequence != 1:
            raise ValueError(
                f"an encoder-decoder does not split its texts: mesh.sequence must be 1, got {self.mesh.sequence}"
            )

    @property
    def form(self) -> Functional[Seq2Seq]:
        """The model's form."""
        return seq2seq_of(self.model)

    @property
    def learned_pieces(self) -> int:
        """Pieces of words that are learned where there are none yet: as many as the model has tokens."""
        return self.model.vocab

    def parametrised(self, model: dict[str, Any]) -> dict[str, Any]:
        """The fields of a model, as JSON, that its parameters depend on."""
        return {k: v for k, v in model.items() if k != "remat"}

    def fields(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What is learned, with what identifies the pieces, and how it runs, as JSON objects."""
        learned, runs = super().fields()
        return learned | {"pieces": self.source.subwords.load().digest}, runs

    def unlike(self, learned: dict[str, Any]) -> list[str]:
        """``pieces``, if a run was trained on others."""
        mine = self.source.subwords.load().digest
        return ["pieces"] if learned.get("pieces", mine) != mine else []


def pair_experiment(config: Recipe, path: str) -> PairExperiment:
    """``config``, which ``path`` names.

    Raises:
      ValueError: if it is of no encoder-decoder.
    """
    if not isinstance(config, PairExperiment):
        raise ValueError(
            f"a config of an encoder-decoder is needed, and that of {path} is of type {type(config).__name__}"
        )
    return config
