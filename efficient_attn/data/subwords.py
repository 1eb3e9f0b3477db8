"""Sentences as pieces of words that a model of the ``sentencepiece`` package knows, one model for both languages.

References:
  Kudo, Richardson, "SentencePiece: A simple and language independent subword tokenizer", 2018.
  Kudo, "Subword Regularization", 2018 (unigram); Sennrich, Haddow, Birch, "Neural Machine Translation of Rare Words with Subword
  Units", 2016 (BPE).
"""

import dataclasses
import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from jaxtyping import Int, Integer

from efficient_attn.data.pairs import Pairs, ParallelText
from efficient_attn.data.source import Location, read_file, require_file
from efficient_attn.data.splits import Split
from efficient_attn.data.tfds_texts import TFDSTranslation
from efficient_attn.files import replacing

PAD, EOS, UNK, BOS = range(4)
"""Tokens of the models written here: padding, end, unknown and beginning, all distinct."""
# Sentences that are split into pieces at once.
_CHUNK = 1 << 14
_REMEDY = (
    "make it with `python -m efficient_attn tokenizer CONFIG`, of this config or of the one that its docstring names"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SentencePieces:
    """Where a model of pieces lies, and how it is learned."""

    file: Location
    """The ``.model`` file."""
    kind: Literal["unigram", "bpe"] = "unigram"
    unknown: Literal["bytes", "token"] = "bytes"
    """What a character without a piece becomes: its bytes, for which there are 256 pieces, so that nothing is lost; or one token
    for all such characters, as in the published vocabularies."""
    coverage: float = 0.9995
    """Share of the characters of the text that pieces are made of."""
    sentences: int = 2_000_000
    """Sentences of both languages that pieces are learned from, taken at even distances; all, if they are fewer."""

    def __post_init__(self):
        if not 0.9 <= self.coverage <= 1.0:
            raise ValueError(f"coverage must be in [0.9, 1], got {self.coverage}")
        if self.sentences < 2:
            raise ValueError(f"sentences must be at least 2, got {self.sentences}")

    def load(self) -> "Subwords":
        """The model in the file.

        Raises:
            FileNotFoundError: There is none.
            ValueError: The file holds no model of pieces, or one without padding, beginning and end of their own.
        """
        file = require_file(self.file, _REMEDY)
        return Subwords(read_file(file), str(file))

    def fit(self, pairs: Pairs, vocab: int) -> "Subwords":
        """Learns ``vocab`` pieces from both sides of ``pairs``.

        Raises:
            ValueError: The text is too little for so many pieces, or the pieces too few for its characters.
        """
        written = io.BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=_spread(pairs, self.sentences),
                model_writer=written,
                vocab_size=vocab,
                model_type=self.kind,
                byte_fallback=self.unknown == "bytes",
                character_coverage=self.coverage,
                pad_id=PAD,
                eos_id=EOS,
                unk_id=UNK,
                bos_id=BOS,
                max_sentence_length=1 << 16,
                minloglevel=2,
            )
        except RuntimeError as error:
            # After the place in its source and the condition that failed.
            reason = str(error).rsplit("] ", 1)[-1]
            raise ValueError(f"no {vocab} pieces can be made of {pairs.description}: {reason}") from error
        return Subwords(written.getvalue(), "the pieces just made")


class Subwords:
    """A model of pieces.

    Args:
        content: That of a ``.model`` file.
        name: What an error calls it.

    Raises:
        ValueError: It is no such model, or padding, beginning, end and unknown are not four tokens.
    """

    def __init__(self, content: bytes, name: str):
        self.content = content
        self._model: Any = _sentencepiece().SentencePieceProcessor()
        try:
            self._model.LoadFromSerializedProto(content)
        except RuntimeError as error:
            raise ValueError(f"{name} is no model of sentencepiece: {_REMEDY}") from error
        self.pad, self.eos, self.bos = self._model.pad_id(), self._model.eos_id(), self._model.bos_id()
        named = {"pad": self.pad, "eos": self.eos, "bos": self.bos, "unk": self._model.unk_id()}
        if min(named.values()) < 0 or len(set(named.values())) < len(named):
            raise ValueError(f"{name} should have four tokens for pad, eos, bos and unk, got {named}: {_REMEDY}")

    def __len__(self) -> int:
        return self._model.GetPieceSize()

    @property
    def digest(self) -> str:
        """Identifies the model."""
        return hashlib.blake2b(self.content, digest_size=8).hexdigest()

    def encode(self, sentences: Sequence[str]) -> "Texts":
        """The tokens of sentences, each with its end."""
        dtype = np.uint16 if len(self) <= 1 << 16 else np.int32
        tokens, lengths = [np.zeros(0, dtype)], [np.zeros(0, np.int64)]
        for begin in range(0, len(sentences), _CHUNK):
            some = [sentences[n] for n in range(begin, min(begin + _CHUNK, len(sentences)))]
            pieces = self._model.Encode(some, add_eos=True)
            tokens.append(np.fromiter(itertools.chain.from_iterable(pieces), dtype))
            lengths.append(np.array([len(text) for text in pieces], np.int64))
        return Texts(tokens=np.concatenate(tokens), ends=np.cumsum(np.concatenate(lengths)))

    def decode(self, tokens: Integer[np.ndarray, " T"]) -> str:
        """The sentence that tokens spell, up to their end, on one line."""
        ends = np.flatnonzero(tokens == self.eos)
        kept = tokens[: ends[0]] if len(ends) else tokens
        # Bytes may spell a line break, which would shift the lines after it.
        return " ".join(self._model.Decode([int(t) for t in kept if t not in (self.pad, self.bos)]).splitlines())

    def save(self, file: Location) -> None:
        """Writes a ``.model`` file, which other programs of ``sentencepiece`` read too.

        Raises:
            FileExistsError: There is one already: models that were trained with it would be worthless without it.
        """
        path = Path(file).expanduser()
        if path.exists():
            raise FileExistsError(f"{path} is there already: remove it, or name another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(self.content)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Many short runs of tokens, end to end."""

    tokens: Integer[np.ndarray, " total"]
    ends: Int[np.ndarray, " n"]
    """Where each run ends."""

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Tokens of each."""
        return np.diff(self.ends, prepend=0)

    def __getitem__(self, text: int | np.integer) -> Integer[np.ndarray, " T"]:
        return self.tokens[self.ends[text - 1] if text else 0 : self.ends[text]]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenPairs:
    """One split of parallel text as tokens, and as it was."""

    source: Texts
    target: Texts
    pairs: Pairs
    """The sentences."""
    pieces: Subwords

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def lengths(self) -> Int[np.ndarray, "n 2"]:
        """Tokens of each source and of each target, their ends included."""
        return np.stack([self.source.lengths, self.target.lengths], axis=1)

    @property
    def description(self) -> str:
        """Exactly which data this is."""
        tokens = f"{len(self.source.tokens):,} and {len(self.target.tokens):,} tokens"
        return f"{self.pairs.description}, {tokens} of {len(self.pieces):,} pieces {self.pieces.digest}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubwordPairs:
    """Parallel text in pieces of words."""

    pairs: ParallelText | TFDSTranslation
    """Where the sentences come from."""
    subwords: SentencePieces

    def load(self, split: Split) -> TokenPairs:
        """Reads one split and takes it apart; see ``Source.load``."""
        pieces, pairs = self.subwords.load(), self.pairs.load(split)
        source, target = pieces.encode(pairs.source), pieces.encode(pairs.target)
        return TokenPairs(source=source, target=target, pairs=pairs, pieces=pieces)

    def sentences(self, split: Split) -> Pairs:
        """One split as it is before it is taken apart."""
        return self.pairs.load(split)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        parts = [type(self).__name__, self.pairs.fingerprint(), self.subwords.load().digest]
        return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def _spread(pairs: Pairs, most: int) -> Iterator[str]:
    """At most so many sentences of both languages, in pairs, at even distances."""
    count = min(len(pairs), most // 2)
    chosen: Iterable[int] = (n * len(pairs) // count for n in range(count))
    return itertools.chain.from_iterable((pairs.source[n], pairs.target[n]) for n in chosen)


def _sentencepiece() -> ModuleType:
    try:
        import sentencepiece
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pieces of words need sentencepiece: pip install 'efficient-attn[translation]'"
        ) from error
    return sentencepiece
