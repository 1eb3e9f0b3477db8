"""One split of a data set as one run of tokens of 8, 16 or 32 bits."""

import dataclasses
import functools
import lzma
from typing import Literal

import numpy as np
from jaxtyping import UInt8, UInt16, UInt32

Unit = Literal["byte", "word", "piece", "pixel", "colour", "sample", "symbol"]

# Bounds the memory that scanning a memory-mapped file of gigabytes takes.
_SCAN_BYTES = 1 << 24
_WHITESPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenStream:
    """One split of a data set: a run of tokens in reading order."""

    tokens: UInt8[np.ndarray, " length"] | UInt16[np.ndarray, " length"] | UInt32[np.ndarray, " length"]
    """The tokens; may be memory-mapped and read-only."""
    vocab_size: int = 256
    """Number of different tokens that may occur."""
    record_length: int = 1
    """Tokens in one indivisible record: height * width * 3 for images, 1 where the stream may be cut anywhere."""
    image_shape: tuple[int, ...] = ()
    """Of the tokens of a record that is an image: height, width, and 3 where each channel is a token; else empty."""
    given: int = 0
    """Tokens at the start of each record that are neither learned nor scored."""
    unit: Unit = "byte"
    """What a token is: a byte, a word or a piece of a word of text, a channel of a pixel, its colour, a sample of sound, a symbol
    of a made-up task."""
    raw_bytes: int | None = None
    """Bytes of what the tokens stand for; None: as many as there are tokens."""
    description: str
    """Exactly which data this is: files, counts, versions."""

    def __post_init__(self):
        if self.tokens.ndim != 1 or self.tokens.dtype not in (np.uint8, np.uint16, np.uint32):
            raise ValueError(
                f"tokens must be 1-D uint8, uint16 or uint32, got {self.tokens.ndim}-D {self.tokens.dtype}"
            )
        if not len(self.tokens):
            raise ValueError(f"the stream holds no tokens: {self.description}")
        bits = 8 * self.tokens.dtype.itemsize
        if not 1 <= self.vocab_size <= 1 << bits:
            raise ValueError(f"vocab_size of {bits}-bit tokens must be in 1..{1 << bits}, got {self.vocab_size}")
        if self.record_length < 1 or len(self.tokens) % self.record_length:
            raise ValueError(f"{len(self.tokens)} tokens are not whole records of {self.record_length} tokens")
        if not 0 <= self.given < self.record_length:
            raise ValueError(f"given must leave something of a record of {self.record_length} tokens, got {self.given}")

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def records(self) -> UInt8[np.ndarray, "count R"] | UInt16[np.ndarray, "count R"] | UInt32[np.ndarray, "count R"]:
        """The tokens, a row for each record."""
        return self.tokens.reshape(-1, self.record_length)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of what the tokens stand for, over their number."""
        return 1.0 if self.raw_bytes is None else self.raw_bytes / len(self)

    @functools.cached_property
    def words(self) -> int | None:
        """Number of runs of non-whitespace bytes, or of tokens that are words; None of other units.

        Perplexity per word is ``exp(total nats / words)``. Published numbers of WikiText and LM1B also count one
        end-of-sentence word per line: add ``lines``.
        """
        if self.unit == "word":
            return len(self)
        if self.unit != "byte":
            return None
        count, inside = 0, False
        for begin in range(0, len(self), _SCAN_BYTES):
            letters = ~_WHITESPACE[self.tokens[begin : begin + _SCAN_BYTES]]
            count += int(np.count_nonzero(letters[1:] & ~letters[:-1])) + int(letters[0] and not inside)
            inside = bool(letters[-1])
        return count

    @functools.cached_property
    def xz_bits(self) -> float | None:
        """Bits per token of the whole stream under ``xz -9``, a yardstick; None of words, and of what would take it seconds."""
        if len(self) > _SCAN_BYTES or self.unit == "word":
            return None
        return 8 * len(lzma.compress(self.tokens.tobytes(), preset=9)) / len(self)

    @functools.cached_property
    def frequency_bits(self) -> float:
        """Bits per token of a code that knows how often each token is in this stream, and nothing of the ones before it."""
        counts = np.zeros(self.vocab_size, np.int64)
        for begin in range(0, len(self), _SCAN_BYTES):
            counts += np.bincount(self.tokens[begin : begin + _SCAN_BYTES], minlength=self.vocab_size)
        shares = counts[counts > 0] / len(self)
        return float(-np.sum(shares * np.log2(shares)))

    @functools.cached_property
    def lines(self) -> int | None:
        """Number of newline bytes, None unless the unit is a byte."""
        if self.unit != "byte":
            return None
        return sum(
            int(np.count_nonzero(self.tokens[begin : begin + _SCAN_BYTES] == ord("\n")))
            for begin in range(0, len(self), _SCAN_BYTES)
        )
