"""A text as words, for models with a vocabulary of them."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator

import numpy as np
from jaxtyping import Integer, UInt8, UInt32

from efficient_attn.data.corpora import LM1B, WikiText
from efficient_attn.data.source import hash_identity
from efficient_attn.data.splits import Split
from efficient_attn.data.standard_library import StandardLibrary
from efficient_attn.data.stream import TokenStream
from efficient_attn.data.text_files import TextFiles
from efficient_attn.data.wikipedia import WikipediaExcerpt

END, UNKNOWN = b"</s>", b"<unk>"

# Bytes whose words exist at a time as Python's own.
_PART = 1 << 24


@dataclasses.dataclass(frozen=True, kw_only=True)
class Words:
    """What stands between blanks, and the end of each line, as numbers: 0 is the most frequent word of the training split.

    That is how WikiText-103 and LM1B are scored, whose distributed text has blanks around its punctuation. Words that the
    vocabulary lacks become ``<unk>``, which is in it.

    Cost: a pass over the training split in Python for each process, about a minute for WikiText-103.
    """

    of: WikiText | LM1B | TextFiles | StandardLibrary | WikipediaExcerpt
    """The text."""
    most: int | None = None
    """Words of the vocabulary at most, ``<unk>`` and the end of a line included; None: all of the training split's."""

    def __post_init__(self):
        if self.most is not None and self.most < 2:
            raise ValueError(f"most must be at least 2 words, or None; got {self.most}")

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        stream, size = self.of.load(split), len(self.vocabulary())
        return TokenStream(
            tokens=self.numbered(stream.tokens),
            vocab_size=size,
            unit="word",
            raw_bytes=len(stream),
            description=f"{stream.description}, as words of a vocabulary of {size:,}",
        )

    def numbered(self, text: UInt8[np.ndarray, " length"]) -> UInt32[np.ndarray, " words"]:
        """The numbers of the words of a text, with the end of each line and one at the end of the last."""
        number = {word: place for place, word in enumerate(self.vocabulary())}
        unknown = number[UNKNOWN]
        parts = [np.fromiter((number.get(word, unknown) for word in part), np.uint32) for part in _words(text)]
        return np.concatenate([np.zeros(0, np.uint32), *parts])

    def prompt(self, text: UInt8[np.ndarray, " length"]) -> UInt32[np.ndarray, " words"]:
        """The words of a text whose last line goes on, unless it is ended."""
        return self.numbered(text)[: None if text.size and text[-1] == ord("\n") else -1]

    def written(self, words: Integer[np.ndarray, " words"]) -> bytes:
        """Words with blanks between them, in lines."""
        vocabulary = self.vocabulary()
        return b" ".join(vocabulary[word] for word in words).replace(b" " + END, b"\n").replace(b"\n ", b"\n")

    def vocabulary(self) -> tuple[bytes, ...]:
        """The words, from the most frequent to the rarest; of equals, in the order of their bytes."""
        return _vocabulary(self)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [(self.of.fingerprint(), 0)])


@functools.lru_cache(maxsize=4)
def _vocabulary(source: Words) -> tuple[bytes, ...]:
    counts: Counter[bytes] = Counter({UNKNOWN: 0})
    for part in _words(source.of.load("train").tokens):
        counts.update(part)
    ordered = _ordered(counts)
    if source.most is None or len(ordered) <= source.most:
        return ordered
    # What is left out is unknown from now on, and as frequent as all of it together.
    kept = [word for word in ordered if word != UNKNOWN][: source.most - 1]
    frequent = Counter({word: counts[word] for word in kept})
    frequent[UNKNOWN] = counts.total() - frequent.total()
    return _ordered(frequent)


def _ordered(counts: Counter[bytes]) -> tuple[bytes, ...]:
    return tuple(sorted(counts, key=lambda word: (-counts[word], word)))


def _words(text: UInt8[np.ndarray, " length"]) -> Iterator[list[bytes]]:
    """The words of a text, some lines at a time; a text that does not end a line ends it."""
    rest = b""
    for first in range(0, len(text), _PART):
        *lines, rest = (rest + text[first : first + _PART].tobytes()).split(b"\n")
        yield [word for line in lines for word in (*line.split(), END)]
    if rest:
        yield [*rest.split(), END]
