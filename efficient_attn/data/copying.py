"""The copying task of the Reformer's paper: a random word behind a 0, and then the same again."""

import dataclasses

import numpy as np

from efficient_attn.data.source import hash_identity
from efficient_attn.data.splits import SPLITS, Split
from efficient_attn.data.stream import TokenStream


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copying:
    """Records ``0 w 0 w``, where ``w`` is drawn from the numbers ``1 .. symbols``; the first half of each is given.

    Only the second half is learned and scored: nothing in the first can be foreseen.

    Raises:
        ValueError: A length, a number of symbols or a number of records cannot be.

    Reference:
        Kitaev, Kaiser and Levskaya, "Reformer: The Efficient Transformer", 2020, section 5 (words of 511, 127 symbols).
    """

    word: int = 511
    """Tokens of ``w``; a record has ``2 * word + 2``."""
    symbols: int = 127
    """Different tokens in ``w``."""
    records: int = 65_536
    """Records for training."""
    held_out: int = 256
    """Records for validation, and as many for the test."""
    seed: int = 0
    """Chooses all of them."""

    def __post_init__(self):
        for name in ("word", "symbols", "records", "held_out"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.symbols > 255:
            raise ValueError(
                f"symbols must be at most 255, since tokens have 8 bits and 0 is taken; got {self.symbols}"
            )

    def load(self, split: Split) -> TokenStream:
        """Draws one split; see ``Source.load``."""
        count = self.records if split == "train" else self.held_out
        draw = np.random.default_rng((self.seed, SPLITS.index(split)))
        words = draw.integers(1, self.symbols + 1, (count, self.word), np.uint8)
        half = np.pad(words, ((0, 0), (1, 0)))
        return TokenStream(
            tokens=np.concatenate([half, half], axis=1).reshape(-1),
            record_length=2 * self.word + 2,
            given=self.word + 1,
            unit="symbol",
            vocab_size=self.symbols + 1,
            description=f"{split} of the copying task: {count:,} words of {self.word} out of {self.symbols} symbols",
        )

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [])
