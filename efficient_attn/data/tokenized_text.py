"""Text in the tokens of a pretrained model: one run of tokens, of a source of bytes and a tokenizer's folder."""

import dataclasses
import functools
import hashlib

import numpy as np
from jaxtyping import Bool, Int, Integer, UInt8

from efficient_attn.data.pairs import Lines
from efficient_attn.data.source import Location
from efficient_attn.data.splits import Split
from efficient_attn.data.stream import TokenStream
from efficient_attn.data.subword_text import ByteText
from efficient_attn.data.text_pieces import Pieces, read_tokenizer

# Lines that are taken apart at once, on all cores.
_CHUNK = 1 << 14
# With what WordPiece's tokens go on with a word, and the letters that stand for a blank and other white space in byte-level ones.
_GOES_ON, _BLANK, _WHITE = "##", "Ġ", "ĠĊĉč"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizedText:
    """The tokens of all lines of a text with their ends, one after the other, and no special ones.

    Byte-level tokenizers, as RoBERTa's, lose nothing of the text; others lose its white space. Nothing marks where a document ends.

    Cost: a pass of the ``tokenizers`` library over a split, on all cores, when it is loaded.
    """

    text: ByteText
    """Where the bytes come from, which are UTF-8."""
    tokenizer: Location
    """A folder with ``tokenizer.json``, or ``vocab.txt``, or ``vocab.json`` and ``merges.txt``: a checkpoint's."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split and takes it apart; see ``Source.load``."""
        stream = self.text.load(split)
        size = len(_begins_word(self.tokenizer))
        tokens = self.numbered(stream.tokens, stream.description)
        return TokenStream(
            tokens=tokens.astype(np.uint16 if size <= 1 << 16 else np.uint32),
            vocab_size=size,
            unit="piece",
            raw_bytes=len(stream),
            description=f"{stream.description}, in tokens of a vocabulary of {size:,}",
        )

    def numbered(self, text: UInt8[np.ndarray, " length"], name: str = "the text") -> Int[np.ndarray, " pieces"]:
        """The tokens of a text, which an error calls ``name``."""
        lines, parts = Lines(text, name), [np.zeros(0, np.int32)]
        last_is_open = len(text) > 0 and text[-1] != ord("\n")
        for begin in range(0, len(lines), _CHUNK):
            some = [f"{lines[n]}\n" for n in range(begin, min(begin + _CHUNK, len(lines)))]
            if last_is_open and begin + len(some) == len(lines):
                some[-1] = some[-1].removesuffix("\n")
            parts += [np.array(found, np.int32) for found in self._pieces.numbers(some)]
        return np.concatenate(parts)

    def prompt(self, text: UInt8[np.ndarray, " length"]) -> Int[np.ndarray, " pieces"]:
        """The tokens of a text that goes on."""
        return self.numbered(text)

    def written(self, tokens: Integer[np.ndarray, " pieces"]) -> bytes:
        """The text that tokens stand for."""
        return read_tokenizer(self.tokenizer).decode(tokens.tolist(), skip_special_tokens=False).encode()

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        parts = [type(self).__name__, self.text.fingerprint(), self._pieces.fingerprint()]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()

    @property
    def _pieces(self) -> Pieces:
        # A text is not framed, and so not cut.
        return Pieces(folder=self.tokenizer, context=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PieceWords:
    """Words of a text in a tokenizer's tokens move whole, as ``data.permuted`` takes it."""

    tokenizer: Location
    """As of ``TokenizedText``."""

    def begins(self, tokens: Int[np.ndarray, "B T"]) -> Bool[np.ndarray, "B T"]:
        """Where a word begins; a row begins with one."""
        found = _begins_word(self.tokenizer)[tokens]
        found[:, 0] = True
        return found


@functools.lru_cache(maxsize=4)
def _begins_word(folder: Location) -> Bool[np.ndarray, " V"]:
    """Of each token whether it begins a word, or stands for none.

    Of WordPiece's those go on with a word that say so; of a byte-level tokenizer's those that begin with a letter or a digit and
    with no white space.
    """
    vocabulary = read_tokenizer(folder).get_vocab(with_added_tokens=True)
    begins = np.ones(max(vocabulary.values()) + 1, bool)
    byte_level = any(token.startswith(_BLANK) for token in vocabulary)
    for token, number in vocabulary.items():
        inside = token[:1].isalnum() and token[0] not in _WHITE if byte_level else token.startswith(_GOES_ON)
        begins[number] = not inside
    return begins
