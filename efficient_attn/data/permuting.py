"""Tokens taken away from a text to be told one after the other, in an order that is drawn, words whole.

References:
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020, section 2.2 and released
  code: a permutation of all slots, of which the last are predicted.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from efficient_attn.data.batches import Batch
from efficient_attn.data.masking import Masking
from efficient_attn.data.tokenized_text import PieceWords


@dataclasses.dataclass(frozen=True, kw_only=True)
class SingleTokens:
    """Every token moves by itself."""

    def begins(self, tokens: Int[np.ndarray, "B T"]) -> Bool[np.ndarray, "B T"]:
        """Where a unit begins."""
        return np.ones(tokens.shape, bool)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteWords:
    """Words of a text in bytes move whole: runs of ASCII letters and digits, underscores, and bytes of other characters."""

    def begins(self, tokens: Int[np.ndarray, "B T"]) -> Bool[np.ndarray, "B T"]:
        """Where a unit begins; every other byte is one by itself."""
        letter = _OF_A_WORD[tokens]
        goes_on = np.zeros(tokens.shape, bool)
        goes_on[:, 1:] = letter[:, 1:] & letter[:, :-1]
        return ~goes_on


_OF_A_WORD = np.array([chr(byte).isalnum() or byte == ord("_") or byte >= 128 for byte in range(256)])

Units = SingleTokens | ByteWords | PieceWords


def told_tokens(length: int, rate: float) -> int:
    """How many tokens of a window are predicted, the same for all of a batch.

    Raises:
        ValueError: It is none.
    """
    told = round(rate * length)
    if told < 1:
        raise ValueError(f"a rate of {rate} leaves no token to tell of windows of {length}")
    return told


def permuted(batch: Batch, masking: Masking, units: Units, seed: tuple[int, ...], first: int) -> Batch:
    """A batch with what is predicted, P tokens of every row, and in which order.

    ``predicted`` int32 [B, P]: their slots, in the order in which they are told. ``inputs`` int32 [B, T]: the text with these
    tokens taken away. ``asked`` int32 [B, P]: what stands in their places. ``told`` bool [B, P]: whether the slot has a valid
    token; where a row has fewer than P, hidden ones fill it up.

    Units are shuffled, and the last P tokens are predicted, in an order of their own: a word on the boundary is parted.
    What is drawn is a function of the seed and of the row's place alone.

    Args:
        batch: ``tokens`` and ``valid``, and whatever else, which is kept.
        masking: How many tokens, and what is drawn in their places.
        units: What is not torn apart.
        seed: The first parts of the seed of every row.
        first: Place of the first row among all that have this seed.
    """
    tokens, valid = batch["tokens"], batch["valid"]
    told = told_tokens(tokens.shape[1], masking.rate)
    draws = [np.random.default_rng((*seed, first + row)) for row in range(len(tokens))]
    begins = units.begins(tokens)
    orders = [_order(*row, told) for row in zip(draws, begins, valid, strict=True)]
    predicted = np.stack(orders)[:, -told:].astype(np.int32)
    own = np.take_along_axis(tokens, predicted, axis=1)
    how = np.stack([rng.random(told) for rng in draws])
    others = np.stack([rng.integers(masking.kinds or masking.token, size=told) for rng in draws])
    asked = masking.replaced(own, how, others).astype(np.int32)
    inputs = tokens.copy()
    np.put_along_axis(inputs, predicted, asked, axis=1)
    seen = np.take_along_axis(valid, predicted, axis=1)
    return {**batch, "inputs": inputs.astype(np.int32), "predicted": predicted, "asked": asked, "told": seen}


def _order(
    rng: np.random.Generator, begins: Bool[np.ndarray, " T"], valid: Bool[np.ndarray, " T"], told: int
) -> Int[np.ndarray, " T"]:
    """All slots of a row, the predicted ones last; hidden slots come first."""
    unit = np.cumsum(begins) - 1
    # A unit's tokens share its place in the shuffle, and keep their order by being sorted stably.
    place = rng.permutation(unit[-1] + 1)[unit]
    order = np.argsort(np.where(valid, place, -1), kind="stable")
    return np.concatenate([order[:-told], rng.permutation(order[-told:])])
