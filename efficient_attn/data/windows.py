"""Where evaluation windows lie on a stream, and which of their tokens are scored: index arithmetic only.

Window 0 covers ``[0, context)`` and scores all of it. Window ``i`` moves on by ``i * scored`` tokens and scores its
last ``scored`` tokens, the ones that no earlier window covered. Every token is therefore scored exactly once:

- ``scored == context``: windows side by side;
- Longformer: ``context=32256, scored=512``;
- a Sparse Transformer evaluated with a context of at least ``m`` tokens: ``context=n, scored=n - m``.

References:
    Beltagy et al., Longformer, https://arxiv.org/abs/2004.05150
    Child et al., Sparse Transformers, https://arxiv.org/abs/1904.10509
"""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Window:
    """One window: the stream's tokens ``[start, stop)``, of which ``[scored_from, stop)`` are scored."""

    start: int
    """Position of the first token."""
    stop: int
    """Position after the last token; ``stop - start`` is below the context at the end of the stream."""
    scored_from: int
    """Position of the first scored token."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationWindows:
    """A protocol of evaluation: windows of ``context`` tokens that move by ``scored`` tokens.

    Raises:
        ValueError: ``scored`` is not in ``1..context``.
    """

    context: int
    """Tokens in a window."""
    scored: int
    """Tokens that each window after the first scores, and by which it moves."""

    def __post_init__(self):
        if not 1 <= self.scored <= self.context:
            raise ValueError(f"scored must be in 1..context, got scored={self.scored} and context={self.context}")

    def count(self, length: int) -> int:
        """Number of windows that score every one of ``length`` tokens.

        Raises:
            ValueError: ``length`` is not positive.
        """
        if length < 1:
            raise ValueError(f"there are no windows on a stream of {length} tokens")
        return 1 + max(0, -(-(length - self.context) // self.scored))

    def window(self, index: int, length: int) -> Window:
        """The window ``index`` of a stream of ``length`` tokens.

        Raises:
            IndexError: There are not that many windows.
        """
        if not 0 <= index < self.count(length):
            raise IndexError(f"a stream of {length} tokens has windows 0..{self.count(length) - 1}, got {index}")
        start = index * self.scored
        return Window(
            start=start,
            stop=min(start + self.context, length),
            scored_from=start + self.context - self.scored if index else 0,
        )


def side_by_side(context: int) -> EvaluationWindows:
    """Windows that do not overlap: the cheapest protocol, in which the first tokens of each have little context."""
    return EvaluationWindows(context=context, scored=context)


def with_minimum_context(context: int, minimum: int) -> EvaluationWindows:
    """Windows whose scored tokens have at least ``minimum`` tokens before them, but for those of the first window.

    Args:
        context: Tokens in a window.
        minimum: Tokens that come before every scored one, below ``context``.

    Raises:
        ValueError: ``minimum`` is not in ``0..context - 1``.
    """
    if not 0 <= minimum < context:
        raise ValueError(f"minimum must be in 0..context - 1, got minimum={minimum} and context={context}")
    return EvaluationWindows(context=context, scored=context - minimum)
