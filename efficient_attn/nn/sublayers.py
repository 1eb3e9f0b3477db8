"""Orders of attention (``s``) and feed-forward (``f``) sublayers: the sandwich, and random ones.

A Transformer of depth n is ``sfsf...``. The sandwich of coefficient k moves k attentions to the bottom and as many
feed-forwards to the top, ``s^k (sf)^(n-k) f^k``. A feed-forward has as many parameters as two attentions where its hidden layer is
four times as wide as the model, so orders with the same ``s + 2 f`` are of one size.

Reference:
  Press, Smith, Levy, "Improving Transformer Models by Reordering their Sublayers", 2020, sections 3 and 4.
"""

import itertools
from typing import Literal, NamedTuple

import numpy as np

Unit = Literal["s", "f", "sf"]


class Run(NamedTuple):
    """Equal parts of an order that follow each other."""

    unit: Unit
    repeats: int


def sandwich_order(depth: int, k: int) -> str:
    """The sandwich of ``depth`` sublayers of each kind; ``k = 0`` is the ordinary order.

    Raises:
      ValueError: if ``k`` is not in ``0 .. depth``.
    """
    if depth < 1 or not 0 <= k <= depth:
        raise ValueError(f"k must be in 0..depth, and depth at least 1; got k={k}, depth={depth}")
    return "s" * k + "sf" * (depth - k) + "f" * k


def balanced_order(depth: int, seed: int) -> str:
    """A random order of ``depth`` sublayers of each kind."""
    return "".join(np.random.default_rng(seed).permutation(list("sf" * depth)))


def matched_order(depth: int, seed: int) -> str:
    """A random order with as many parameters as ``depth`` of each kind: each sublayer is of either with probability 1/2, until
    they are used up."""
    draw, left, order = np.random.default_rng(seed), 3 * depth, ""
    while left:
        order += "f" if left > 1 and draw.random() < 0.5 else "s"
        left -= 2 if order[-1] == "f" else 1
    return order


def check_order(order: str, depth: int, *, field: str = "order", attentions: int = 1) -> None:
    """A ValueError if an order has other letters than s and f, no s, or other parameters than ``depth`` of each kind.

    Args:
      order: of a field of a config.
      depth: sublayers of each kind in the ordinary order.
      field: its name.
      attentions: that a single s stands for.
    """
    if set(order) - set("sf") or "s" not in order:
        raise ValueError(f"{field} must consist of the letters s and f, with at least one s; got {order!r}")
    first, second = order.count("s"), order.count("f")
    total = (attentions + 2) * depth
    if attentions * first + 2 * second != total:
        letter = "s" if attentions == 1 else f"{attentions} s"
        raise ValueError(
            f"{field} must have {letter} + 2 f = {attentions + 2} * depth = {total}, the parameters of {depth} of each; "
            f"got {first} of s and {second} of f"
        )


def runs(order: str) -> tuple[Run, ...]:
    """The blocks of an order, as many of one kind as follow each other together."""
    return tuple(Run(unit, len(list(group))) for unit, group in itertools.groupby(units(order)))


def units(order: str) -> tuple[Unit, ...]:
    """The blocks of an order: pairs ``sf`` wherever an attention is followed by a feed-forward, and what is left alone."""
    found: list[Unit] = []
    place = 0
    while place < len(order):
        found.append("sf" if order.startswith("sf", place) else "f" if order[place] == "f" else "s")
        place += len(found[-1])
    return tuple(found)
