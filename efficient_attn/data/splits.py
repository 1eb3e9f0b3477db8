"""How a source is divided into training, validation and test data: by position, or by a hash of a name."""

import hashlib
import math
from typing import Literal

Split = Literal["train", "validation", "test"]
SplitFractions = tuple[float, float, float]

SPLITS: tuple[Split, Split, Split] = ("train", "validation", "test")


def check_fractions(fractions: SplitFractions) -> None:
    """Checks the shares of train, validation and test.

    Args:
        fractions: Shares of the whole, in the order of ``SPLITS``; a split that is not wanted may be 0.

    Raises:
        ValueError: A share is negative, the training share is 0, or the shares do not add up to 1.
    """
    if min(fractions) < 0 or fractions[0] == 0:
        raise ValueError(f"splits must be shares >= 0 with some training data, got {fractions}")
    if not math.isclose(sum(fractions), 1.0, abs_tol=1e-6):
        raise ValueError(f"splits must add up to 1, got {fractions}, which add up to {sum(fractions):g}")


def split_by_hash(key: bytes, fractions: SplitFractions) -> Split:
    """Chooses the split of a record from a hash of what identifies it.

    The choice depends on nothing else, so adding records never moves another one to a different split.

    Args:
        key: What identifies the record: its relative path, or its bytes.
        fractions: Shares of train, validation and test.
    """
    position = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") / 2**64
    if position < fractions[0]:
        return "train"
    return "validation" if position < fractions[0] + fractions[1] else "test"


def split_by_position(length: int, fractions: SplitFractions) -> dict[Split, slice]:
    """Cuts ``range(length)`` into three contiguous parts: training first, test last.

    Args:
        length: Number of tokens in the whole.
        fractions: Shares of train, validation and test.
    """
    first = round(length * fractions[0])
    second = round(length * (fractions[0] + fractions[1]))
    return {"train": slice(0, first), "validation": slice(first, second), "test": slice(second, length)}
