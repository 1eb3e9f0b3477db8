"""Spans taken out of a text, for an encoder-decoder that has to write them: what T5 learns first.

    text      a b c d e f g h i j          spans drawn: c d, h
    source    a b <0> e f g <1> i j </s>
    target    <0> c d <1> h </s>

How many tokens are hidden, and in how many spans, is a function of the length alone, so that all rows of whole windows are full.

Reference:
    Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer", 2020, sections 3.1.4 and
    3.3.4, and released code.
"""

import dataclasses

import numpy as np
from jaxtyping import Bool, Int

from efficient_attn.data.batches import Batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanCorruption:
    """How much of a text is hidden, and in how long spans.

    Raises:
        ValueError: The density is not a share of the text, or spans are shorter than a token.
    """

    density: float = 0.15
    """Tokens that are hidden, of all."""
    mean_span: float = 3.0
    """Tokens of a span on average."""

    def __post_init__(self):
        if not 0.0 < self.density < 1.0:
            raise ValueError(f"density must be above 0 and below 1, got {self.density}")
        if not 1.0 <= self.mean_span < float("inf"):
            raise ValueError(f"mean_span must be a number of at least 1, got {self.mean_span}")

    def hidden(self, tokens: int) -> tuple[int, int]:
        """Hidden tokens of a text of so many, and their spans; a text of one token is hidden whole."""
        # At least one token is hidden and one is not; halves are rounded to even numbers, as in released code.
        hidden = max(1, min(round(tokens * self.density), tokens - 1))
        spans = max(1, round(hidden / self.mean_span))
        return hidden, min(spans, max(1, tokens - hidden))

    def lengths(self, tokens: int) -> tuple[int, int]:
        """Tokens of the source and of the target that are made of a text of so many, their ends included."""
        hidden, spans = self.hidden(tokens)
        return tokens - hidden + spans + 1, hidden + spans + 1

    def window(self, source: int) -> int:
        """Tokens of the longest text whose source has at most ``source`` tokens: 568 for 512.

        Raises:
            ValueError: There is no such text.
        """
        # A source is at least as long as what is not hidden of its text.
        candidates = range(2, 2 + int((source + 1) / (1.0 - self.density)))
        fitting = [tokens for tokens in candidates if self.lengths(tokens)[0] <= source]
        if not fitting:
            raise ValueError(
                f"a source of {source} tokens has no room for a token, a sentinel and its end: 3 are needed"
            )
        return fitting[-1]

    def draw(self, tokens: int, rng: np.random.Generator) -> Bool[np.ndarray, " tokens"]:
        """Which tokens of a text are hidden: spans between stretches that are not, of which the first begins the text.

        All ways to cut the hidden tokens into their spans are as probable, and so are those of the others.
        """
        hidden, spans = self.hidden(tokens)
        if hidden == tokens:
            return np.ones(tokens, bool)
        lengths = np.stack([_cut(tokens - hidden, spans, rng), _cut(hidden, spans, rng)], axis=1).reshape(-1)
        return np.repeat(np.arange(2 * spans) % 2 == 1, lengths)


def corrupted(
    batch: Batch, corruption: SpanCorruption, sentinel: int, eos: int, seed: tuple[int, ...], first: int
) -> Batch:
    """A batch of ``text_rows``' names, ``source`` and ``target``, of a batch of windows: one text a row.

    What is drawn is a function of the seed and of the row's place alone. A row without a valid token is all padding.

    Args:
        batch: ``tokens`` and ``valid`` of windows, which are valid from the left.
        corruption: What is drawn.
        sentinel: What stands for the first span of a text; the next ones are below it.
        eos: What both sides end with.
        seed: The first parts of the seed of every row.
        first: Place of the first row among all that have this seed.
    """
    rows, window = batch["tokens"].shape
    widths = dict(zip(("source", "target"), corruption.lengths(window), strict=True))
    made = {name: np.zeros((rows, width), np.int32) for name, width in widths.items()}
    segments = {f"{name}_segments": np.zeros_like(x) for name, x in made.items()}
    for row in range(rows):
        text = batch["tokens"][row, : np.count_nonzero(batch["valid"][row])]
        if not len(text):
            continue
        told = corruption.draw(len(text), np.random.default_rng((*seed, first + row)))
        target = _replaced(text, ~told, sentinel)
        # A text that is hidden whole has nothing before its span that the first sentinel could stand for.
        target = np.append(sentinel, target) if told[0] else target
        for name, side in (("source", _replaced(text, told, sentinel)), ("target", target)):
            side = np.append(side, eos)
            made[name][row, : len(side)], segments[f"{name}_segments"][row, : len(side)] = side, 1
    positions = {f"{name}_positions": _counted(segments[f"{name}_segments"]) for name in made}
    return {**made, **segments, **positions}


def _cut(items: int, parts: int, rng: np.random.Generator) -> Int[np.ndarray, " parts"]:
    """Lengths of a drawn division of so many items into parts, none of them empty."""
    cuts = np.sort(rng.permutation(items - 1)[: parts - 1]) + 1
    return np.diff(cuts, prepend=0, append=items)


def _replaced(
    text: Int[np.ndarray, " tokens"], gone: Bool[np.ndarray, " tokens"], sentinel: int
) -> Int[np.ndarray, " rest"]:
    """A text in which each run of tokens that are gone has become one sentinel."""
    begins = gone & ~np.roll(gone, 1)
    begins[0] = gone[0]
    numbered = np.where(begins, sentinel + 1 - np.cumsum(begins), text)
    return numbered[begins | ~gone]


def _counted(segments: Int[np.ndarray, "B T"]) -> Int[np.ndarray, "B T"]:
    return np.where(segments > 0, np.arange(segments.shape[1], dtype=np.int32), 0)
