"""Cycles in which layers of a mechanism and layers of ordinary attention take turns."""

from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.expression import parse
from efficient_attn.patterns.local import Causal


def parse_turns(owner: str, word: str, layers: tuple[str, ...]) -> tuple[Pattern, ...]:
    """The pattern of each layer of a cycle; that of the mechanism itself, which ``word`` stands for, is ``Causal()``.

    Raises:
      ValueError: if the cycle of the config ``owner`` has no such layer, or an expression cannot be read.
    """
    if word not in layers:
        raise ValueError(f"{owner}.layers needs an entry {word!r}, got {layers}")
    return tuple(Causal() if text == word else parse(text) for text in layers)
