"""Texts as the tokens of a pretrained model, through the ``tokenizers`` library: framed by its special tokens, cut and filled up.

A tokenizer is read from a checkpoint's folder: ``tokenizer.json``, which says itself how texts and pairs are framed, or older
files, for which the frame is that of their family: ``[CLS] a [SEP] b [SEP]`` of BERT, ``<s> a </s></s> b </s>`` of RoBERTa and
MPNet.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jaxtyping import Int32

from efficient_attn.data.batches import Batch
from efficient_attn.data.source import Location, read_file, require_folder

Cut = Literal["longest_first", "only_second"]
_FRAMES: Mapping[str, tuple[str, str, str, str]] = MappingProxyType(
    {
        "bert": ("[CLS]", "[SEP]", "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1"),
        "roberta": ("<s>", "</s>", "<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0"),
    }
)
_OPTIONS = "tokenizer_config.json"
_REMEDY = "tokenizer=... names a folder with the files of a tokenizer"
_PADDING = ("<pad>", "[PAD]")
# Embeddings are often rounded up to a multiple of this many rows.
_ROUNDED = 128
# Texts that the library encodes at a time, on all cores.
_CHUNK = 512


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pieces:
    """A tokenizer, and the length of what a model reads."""

    folder: Location
    """Holds ``tokenizer.json``, or ``vocab.txt``, or ``vocab.json`` and ``merges.txt``."""
    context: int
    """The most tokens of a text, special ones included."""

    def framed(
        self, firsts: Sequence[str], seconds: Sequence[str] | None, cut: Cut = "longest_first", stride: int = 0
    ) -> Iterator[Any]:
        """An ``Encoding`` of each text or pair, of at most ``context`` tokens; what did not fit is in its ``overflowing``.

        Args:
          firsts: texts.
          seconds: what each is paired with; None: nothing.
          cut: which text of a pair is cut.
          stride: tokens that a part has in common with the one before it.

        Raises:
          ValueError: if there is no room for the text that is cut.
        """
        tokenizer = read_tokenizer(self.folder)
        texts: Sequence[Any] = firsts if seconds is None else list(zip(firsts, seconds, strict=True))
        room = self.room(seconds is not None)
        if room <= stride:
            raise ValueError(
                f"context={self.context} leaves {room} tokens for a text, which must be more than {stride}"
            )
        for start in range(0, len(texts), _CHUNK):
            # One tokenizer serves all that read from its folder.
            tokenizer.enable_truncation(self.context, stride=stride, strategy=cut)
            yield from tokenizer.encode_batch(texts[start : start + _CHUNK])

    def room(self, paired: bool) -> int:
        """Tokens of a text or a pair beside special ones."""
        return self.context - read_tokenizer(self.folder).num_special_tokens_to_add(paired)

    def beginnings(self, texts: Sequence[str], tokens: int) -> list[str]:
        """The part of each text that its first ``tokens`` tokens stand for, special ones not counted."""
        return [
            text if len(found.ids) <= tokens else text[: found.offsets[tokens - 1][1]]
            for text, found in zip(texts, self._whole(texts), strict=True)
        ]

    def lengths(self, firsts: Sequence[str], seconds: Sequence[str] | None) -> Int32[np.ndarray, " count"]:
        """Tokens of each text or pair that is not cut, without special ones."""
        parts = [firsts] if seconds is None else [firsts, seconds]
        return np.sum([[len(found.ids) for found in self._whole(texts)] for texts in parts], axis=0, dtype=np.int32)

    def numbers(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, which is not cut, without special ones."""
        return [list(found.ids) for found in self._whole(texts)]

    def encoded(self, texts: Sequence[str]) -> list[Any]:
        """An ``Encoding`` of each text, which is not cut, without special tokens."""
        return list(self._whole(texts))

    @property
    def ends(self) -> tuple[int, int]:
        """The tokens that begin a text and end it."""
        tokenizer = read_tokenizer(self.folder)
        tokenizer.no_truncation()
        found = tokenizer.encode("").ids
        return found[0], found[-1]

    def _whole(self, texts: Sequence[str]) -> Iterator[Any]:
        """Encodings of texts that are not cut, without special tokens."""
        tokenizer = read_tokenizer(self.folder)
        for start in range(0, len(texts), _CHUNK):
            tokenizer.no_truncation()
            yield from tokenizer.encode_batch(texts[start : start + _CHUNK], add_special_tokens=False)

    def fingerprint(self) -> str:
        """Identifies the tokenizer by what is in its files."""
        folder = require_folder(self.folder, _REMEDY)
        names = sorted({name for files in _READERS for name in files} | {_OPTIONS})
        files = [folder / name for name in names if (folder / name).is_file()]
        return hashlib.blake2b(b"".join(map(read_file, files)), digest_size=8).hexdigest()

    def check(self, vocab: int, pad_token: int, sep_token: int | None) -> None:
        """A ValueError if the tokenizer is not of a model with these tokens.

        Args:
          vocab: rows of the model's table.
          pad_token: what fills up its texts.
          sep_token: what ends a question; None: the model does not know it.
        """
        tokenizer = read_tokenizer(self.folder)
        tokenizer.no_truncation()
        size = tokenizer.get_vocab_size(with_added_tokens=True)
        if not size <= vocab < size + _ROUNDED:
            raise ValueError(
                f"the tokenizer of {self.folder} has {size} tokens and the model vocab={vocab}: they should agree"
            )
        padding = tokenizer.id_to_token(pad_token)
        if padding not in _PADDING:
            raise ValueError(
                f"pad_token={pad_token} of the model should be {' or '.join(_PADDING)} of the tokenizer of {self.folder}, "
                f"which has {padding!r} there"
            )
        _, last = self.ends
        if sep_token is not None and sep_token != last:
            raise ValueError(
                f"sep_token of the model is {sep_token}, and the tokenizer of {self.folder} ends with {last}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EncodedTexts:
    """Examples as a model reads them: arrays whose first axis counts them, and ``lengths``, tokens of each text."""

    arrays: Mapping[str, np.ndarray]
    """``tokens`` and ``types`` ``[n, T]`` or ``[n, choices, T]``, and what is to be learned."""
    lengths: Int32[np.ndarray, " n"] | Int32[np.ndarray, "n choices"]
    truncated: int
    """Texts that were cut."""
    description: str
    """Exactly which data this is."""

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, rows: np.ndarray) -> Batch:
        """These examples, with ``valid``: where a text has tokens."""
        slots = np.arange(self.arrays["tokens"].shape[-1])
        valid = slots < self.lengths[rows][..., None]
        return {name: array[rows] for name, array in self.arrays.items()} | {"valid": valid}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PaddedRows:
    """Texts side by side, filled up to one length."""

    arrays: dict[str, np.ndarray]
    """``tokens`` and ``types``, ``[n, T]``."""
    lengths: Int32[np.ndarray, " n"]
    truncated: int

    @property
    def counted(self) -> dict[str, Any]:
        """Tokens of each text, and how many texts were cut."""
        return {"lengths": self.lengths, "truncated": self.truncated}


def padded(encodings: Iterable[Any], context: int, pad_token: int) -> PaddedRows:
    """Rows of ``context`` tokens from encodings of at most so many."""
    tokens, types, lengths, truncated = [], [], [], 0
    for encoding in encodings:
        number = len(encoding.ids)
        tokens.append(np.full(context, pad_token, np.int32))
        types.append(np.zeros(context, np.int8))
        tokens[-1][:number], types[-1][:number] = encoding.ids, encoding.type_ids
        lengths.append(number)
        truncated += bool(encoding.overflowing)
    arrays = {"tokens": np.stack(tokens), "types": np.stack(types)}
    return PaddedRows(arrays=arrays, lengths=np.array(lengths, np.int32), truncated=truncated)


@functools.lru_cache(maxsize=8)
def read_tokenizer(folder: Location) -> Any:
    """The ``tokenizers.Tokenizer`` of a checkpoint's folder.

    Raises:
      ModuleNotFoundError: if the library is not installed.
      FileNotFoundError: if there is no folder or no file of a tokenizer in it.
      ValueError: if a file is not what it should be.
    """
    try:
        import tokenizers
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("texts are encoded by tokenizers: pip install 'efficient-attn[hf]'") from error
    files = require_folder(folder, _REMEDY)
    for names, read in _READERS.items():
        if all((files / name).is_file() for name in names):
            try:
                found = read(tokenizers, files)
            # The library raises Exception itself.
            except Exception as error:
                raise ValueError(f"{files / names[0]} is not a tokenizer: {error}") from error
            if not found.num_special_tokens_to_add(True):
                raise ValueError(f"{files / names[0]} does not say which special tokens frame a text (post_processor)")
            # A file may say how to fill up and cut texts, which is said here.
            found.no_padding()
            return found
    options = ", ".join(" and ".join(names) for names in _READERS)
    raise FileNotFoundError(f"{files} has no file of a tokenizer: one of {options}")


def _word_pieces(tokenizers: Any, folder: Path) -> Any:
    model = tokenizers.models.WordPiece.from_file(str(folder / "vocab.txt"), unk_token="[UNK]")
    found = tokenizers.Tokenizer(model)
    options = folder / _OPTIONS
    lower = json.loads(options.read_text()).get("do_lower_case", True) if options.is_file() else True
    found.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lower)
    found.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    found.decoder = tokenizers.decoders.WordPiece()
    # MPNet.s pieces are BERT's, [CLS] among them, behind the special tokens of RoBERTa.
    return _frame(tokenizers, found, "bert" if found.token_to_id("<s>") is None else "roberta")


def _byte_pairs(tokenizers: Any, folder: Path) -> Any:
    model = tokenizers.models.BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    found = tokenizers.Tokenizer(model)
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = tokenizers.decoders.ByteLevel()
    return _frame(tokenizers, found, "roberta")


def _frame(tokenizers: Any, found: Any, family: str) -> Any:
    begin, end, single, pair = _FRAMES[family]
    tokens = [(name, found.token_to_id(name)) for name in (begin, end)]
    if any(number is None for _, number in tokens):
        raise ValueError(f"its vocabulary has no {begin} or no {end}")
    found.post_processor = tokenizers.processors.TemplateProcessing(single=single, pair=pair, special_tokens=tokens)
    return found


# The files of a tokenizer and what reads them, those first that say most.
_READERS: Mapping[tuple[str, ...], Callable[[Any, Path], Any]] = MappingProxyType(
    {
        ("tokenizer.json",): lambda tokenizers, folder: tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")),
        ("vocab.json", "merges.txt"): _byte_pairs,
        ("vocab.txt",): _word_pieces,
    }
)
