"""Text in pieces of words: one run of tokens, of a source of bytes and a model of the ``sentencepiece`` package."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np

from efficient_attn.data.corpora import LM1B, Enwik8, Text8, WikiText
from efficient_attn.data.pairs import Lines, Pairs
from efficient_attn.data.splits import Split
from efficient_attn.data.standard_library import StandardLibrary
from efficient_attn.data.stream import TokenStream
from efficient_attn.data.subwords import SentencePieces
from efficient_attn.data.text_files import TextFiles
from efficient_attn.data.tfds import TFDSText
from efficient_attn.data.wikipedia import WikipediaExcerpt

ByteText = StandardLibrary | TextFiles | WikipediaExcerpt | Enwik8 | Text8 | WikiText | LM1B | TFDSText
# Lines that are split into pieces at once.
_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubwordText:
    """The pieces of all lines of a text, one after the other.

    White space is what the pieces make of it: a line's end, and blanks beside others, are lost. Nothing marks where a line or a
    document ends, as in T5's pre-training.
    """

    text: ByteText
    """Where the bytes come from, which are UTF-8."""
    subwords: SentencePieces

    def load(self, split: Split) -> TokenStream:
        """Reads one split and takes it apart; see ``Source.load``."""
        pieces, stream = self.subwords.load(), self.text.load(split)
        lines = Lines(stream.tokens, stream.description)
        parts = [np.zeros(0, np.uint16 if len(pieces) <= 1 << 16 else np.uint32)]
        for begin in range(0, len(lines), _CHUNK):
            found = pieces.encode([lines[n] for n in range(begin, min(begin + _CHUNK, len(lines)))])
            # An end belongs to what is made of a text.
            kept = np.ones(len(found.tokens), bool)
            kept[found.ends - 1] = False
            parts.append(found.tokens[kept].astype(parts[0].dtype))
        return TokenStream(
            tokens=np.concatenate(parts),
            vocab_size=len(pieces),
            unit="piece",
            raw_bytes=len(stream),
            description=f"{stream.description}, in {len(pieces):,} pieces {pieces.digest}",
        )

    def sentences(self, split: Split) -> Pairs:
        """The lines of one split, each with the one after it, for what learns pieces of pairs."""
        stream = self.text.load(split)
        lines = Lines(stream.tokens, stream.description)
        return Pairs(source=_EveryOther(lines, 0), target=_EveryOther(lines, 1), description=stream.description)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        parts = [type(self).__name__, self.text.fingerprint(), self.subwords.load().digest]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


class _EveryOther(Sequence[str]):
    """Every second line of a text, from the first or from the second on; as many of both."""

    def __init__(self, lines: Lines, first: int):
        self._lines, self._first = lines, first

    def __len__(self) -> int:
        return len(self._lines) // 2

    def __getitem__(self, pair: int) -> str:
        return self._lines[2 * range(len(self))[pair] + self._first]
