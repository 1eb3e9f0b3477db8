"""Tokens taken away from a text, for a model that has to tell them.

Reference:
  Devlin, Chang, Lee, Toutanova, "BERT", 2019, section 3.1.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from efficient_attn.data.batches import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Masking:
    """Which tokens a model has to tell, and what stands in their place.

    Raises:
        ValueError: A rate is not a probability, or the two replacements are more than all.
    """

    token: int = 256
    """What stands for a hidden token."""
    kinds: int | None = None
    """The text's own tokens are those below this number, of which another one is drawn; None: those below ``token``."""
    rate: float = 0.15
    """Tokens that are to be told, of all."""
    hidden: float = 0.8
    """Of these, those in whose place the mask token stands."""
    changed: float = 0.1
    """Of these, those in whose place any token of the text's stands; the others stay as they are."""

    def __post_init__(self):
        if self.token < 1:
            raise ValueError(f"token must be at least 1, got {self.token}")
        if self.kinds is not None and self.kinds < 1:
            raise ValueError(f"kinds must be at least 1, or None, got {self.kinds}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate must be above 0 and at most 1, got {self.rate}")
        if min(self.hidden, self.changed) < 0 or self.hidden + self.changed > 1:
            raise ValueError(
                f"hidden and changed must be at least 0 and at most 1 together, got {self.hidden} and {self.changed}"
            )

    def replaced(
        self, tokens: Int[np.ndarray, "..."], how: Float[np.ndarray, "..."], others: Int[np.ndarray, "..."]
    ) -> Int[np.ndarray, "..."]:
        """What is shown in place of tokens that are to be told.

        Args:
            tokens: The tokens.
            how: A number in [0, 1) for each, which decides.
            others: Another token for each.
        """
        changed = np.where(how < self.hidden + self.changed, others, tokens)
        return np.where(how < self.hidden, self.token, changed)


def masked(batch: Batch, masking: Masking, seed: tuple[int, ...], first: int) -> Batch:
    """A batch with ``inputs`` int32 [B, T], what the model is shown, and ``told`` bool [B, T], what it has to tell.

    A row that has a valid token has one to tell. What is drawn is a function of the seed and of the row's place alone.

    Args:
        batch: ``tokens`` and ``valid``, and whatever else, which is kept.
        masking: What is drawn.
        seed: The first parts of the seed of every row.
        first: Place of the first row among all that have this seed.
    """
    rows, length = batch["tokens"].shape
    draws = [np.random.default_rng((*seed, first + row)) for row in range(rows)]
    chance, how = np.stack([rng.random((2, length)) for rng in draws], axis=1)
    others = np.stack([rng.integers(masking.kinds or masking.token, size=length) for rng in draws])
    chance = np.where(batch["valid"], chance, np.inf)
    told = batch["valid"] & (chance <= np.maximum(masking.rate, chance.min(axis=1, keepdims=True)))
    shown = np.where(told, masking.replaced(batch["tokens"], how, others), batch["tokens"])
    return {**batch, "inputs": shown.astype(np.int32), "told": told}
