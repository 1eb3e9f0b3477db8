"""An experiment with an encoder that tells the tokens taken away from its windows, by one of the objectives MLM, PLM, MPNet."""

import dataclasses
from collections.abc import Callable
from typing import Any

from efficient_attn import data, training
from efficient_attn.masked_experiment import MaskedExperiment, TellingWindows
from efficient_attn.models import encoder_of
from efficient_attn.tasks.permuted_modelling import (
    PLM,
    MPNet,
    PermutedModelling,
    TellingObjective,
    permuted_score_step,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PermutedExperiment(MaskedExperiment):
    """An encoder, its data, what it tells in which order and from what, and its training.

    ``masking`` says how many tokens are told, which is the same number in every window, and what is shown in their places.
    """

    objective: TellingObjective = dataclasses.field(default_factory=MPNet)
    """What a token is told from: the type chooses."""
    units: data.Units = dataclasses.field(default_factory=data.ByteWords)
    """What the drawn order does not tear apart."""

    def __post_init__(self):
        super().__post_init__()
        data.told_tokens(self.context, self.masking.rate)
        self.objective.check(self.model)

    @property
    def reading(self) -> "PermutedWindows":
        """How the model reads its data."""
        names = [field.name for field in dataclasses.fields(PermutedWindows)]
        return PermutedWindows(**{name: getattr(self, name) for name in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PermutedWindows(TellingWindows):
    """Windows of a text, of each of which some tokens are told in a drawn order."""

    objective: TellingObjective
    units: data.Units

    def drawn(self, batch: data.Batch, seed: tuple[int, ...], first: int) -> data.Batch:
        """A batch of ``data.permuted``; the queries of PLM know their position alone."""
        blank = isinstance(self.objective, PLM)
        masking = dataclasses.replace(self.masking, hidden=1.0, changed=0.0) if blank else self.masking
        return data.permuted(batch, masking, self.units, seed, first)

    def program(self) -> dict[str, Any]:
        """What the way of reading gives a training program besides its batches."""
        form = encoder_of(self.model)
        return {"objective": PermutedModelling(form, self.objective, self.label_smoothing, training.Mean)}

    def score_step(self, placement: training.Placement) -> Callable[..., Any]:
        """From parameters and an evaluation batch to nats, tokens and right ones of each row."""
        return permuted_score_step(encoder_of(self.model), self.objective, placement.batches(), placement.replicated)
