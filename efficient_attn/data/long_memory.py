"""Made-up tasks of long memory: remember the first number, or five marked numbers among noise.

Reference:
    Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021, benchmarks 1 and 2.
"""

import dataclasses
from typing import Literal

import numpy as np

from efficient_attn.data.examples import Examples
from efficient_attn.data.source import hash_identity
from efficient_attn.data.splits import SPLITS, Split

Reading = Literal["last_state", "in_turn"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Drawn:
    """Records that are drawn, as many for the validation as for the test."""

    length: int = 300
    """Steps."""
    records: int = 45_000
    """Sequences for training."""
    held_out: int = 5_000
    """Sequences for validation, and as many for the test."""
    seed: int = 0
    """Chooses all of them."""

    def __post_init__(self):
        for name in ("length", "records", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def classes(self) -> bool:
        """Targets are numbers."""
        return False

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [])

    def _count(self, split: Split) -> int:
        return self.records if split == "train" else self.held_out

    def _random(self, split: Split) -> np.random.Generator:
        return np.random.default_rng((self.seed, SPLITS.index(split)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyFirst(_Drawn):
    """``length`` standard normal numbers; the target, at the last step, is the first. A constant scores 1 in squared error."""

    @property
    def inputs(self) -> int:
        """One number a step."""
        return 1

    @property
    def outputs(self) -> int:
        """The first number."""
        return 1

    def load(self, split: Split) -> Examples:
        """Draws one split."""
        count = self._count(split)
        numbers = self._random(split).standard_normal((count, self.length, 1), np.float32)
        return Examples(
            inputs=numbers,
            targets=numbers[:, :1],
            description=f"{split} of copying the first of {self.length} numbers: {count:,} sequences",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Denoising(_Drawn):
    """Standard normal numbers, of which ``marked`` by a second feature are the target, in order; then a cue.

    ``last_state``: 0 marks a number, -1 does not, 1 is the cue at the last step, whose output has all targets (the preprint's).
    ``in_turn``: 1 marks, 0 does not, -1 is the cue, which empty steps follow until there is one for each target (the journal's).
    A constant scores 1 in squared error.
    """

    length: int = 400
    """Steps, cue included; ``in_turn`` has ``marked - 1`` more."""
    silence: int = 200
    """Steps before the cue in which nothing is marked."""
    marked: int = 5
    reading: Reading = "last_state"

    def __post_init__(self):
        super().__post_init__()
        if self.marked < 1 or self.silence < 0 or self.length - 1 - self.silence < self.marked:
            raise ValueError(
                f"{self.marked} marked steps, a silence of {self.silence} and a cue do not fit into length={self.length}"
            )

    @property
    def inputs(self) -> int:
        """A number and its mark."""
        return 2

    @property
    def outputs(self) -> int:
        """All targets at once, or one."""
        return self.marked if self.reading == "last_state" else 1

    def load(self, split: Split) -> Examples:
        """Draws one split."""
        count, draw = self._count(split), self._random(split)
        mark, plain, cue = (0.0, -1.0, 1.0) if self.reading == "last_state" else (1.0, 0.0, -1.0)
        numbers = draw.standard_normal((count, self.length), np.float32)
        marks = np.full_like(numbers, plain)
        order = draw.random((count, self.length - 1 - self.silence), np.float32).argsort(axis=1)
        chosen = np.sort(order[:, : self.marked], axis=1)
        np.put_along_axis(marks, chosen, mark, axis=1)
        targets = np.take_along_axis(numbers, chosen, axis=1)
        numbers[:, -1], marks[:, -1] = 0.0, cue
        inputs = np.stack([numbers, marks], axis=2)
        if self.reading == "in_turn":
            inputs, targets = np.pad(inputs, ((0, 0), (0, self.marked - 1), (0, 0))), targets[:, :, None]
        else:
            targets = targets[:, None]
        return Examples(
            inputs=inputs,
            targets=targets,
            description=f"{split} of denoising: {count:,} sequences of {inputs.shape[1]} steps, {self.silence} of silence",
        )
