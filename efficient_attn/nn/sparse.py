"""Attention over patterns, as a choice of a config; other mechanisms over patterns inherit from it."""

import dataclasses

from efficient_attn.patterns.algebra import Pattern
from efficient_attn.patterns.expression import parse


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sparse:
    """Attention over patterns, written as expressions; layer ``l`` has pattern ``l % len(patterns)``.

    ``("Causal()",)`` is dense attention; two entries alternate; four with three alike are the 3:1 cycle of the image models.
    """

    patterns: tuple[str, ...] = ("Causal()",)

    def __post_init__(self):
        if not isinstance(self.patterns, tuple) or any(not isinstance(text, str) for text in self.patterns):
            raise ValueError(
                f"{type(self).__name__}.patterns must be a tuple of expressions in text, such as ('Causal()',); "
                f"got {self.patterns!r}"
            )
        if not self.patterns:
            raise ValueError(f"{type(self).__name__}.patterns needs at least one expression, got none")
        self.parsed()

    @property
    def longest(self) -> int | None:
        """The most tokens that the mechanism has parameters for; None: any number."""
        return None

    def parsed(self) -> tuple[Pattern, ...]:
        """The patterns themselves.

        Raises:
          ValueError: where an expression cannot be read.
        """
        return tuple(parse(text) for text in self.patterns)
