"""The text corpora of the published tables, read as bytes from the files that their authors distribute.

Nothing is downloaded: a missing file is an error that says what to fetch and where to put it. Files are mapped into
memory where a split is one file; LM1B's training split is 99 files and takes 4 GB of memory.
"""

import dataclasses
from pathlib import Path

import numpy as np

from efficient_attn.data.source import (
    Location,
    hash_identity,
    map_file,
    read_file,
    require_file,
    require_folder,
    sizes_of_files,
)
from efficient_attn.data.splits import Split
from efficient_attn.data.stream import TokenStream

_HUNDRED_MEGABYTES = 100_000_000
_NINETY_FIVE_FIVE: dict[Split, slice] = {
    "train": slice(0, 90_000_000),
    "validation": slice(90_000_000, 95_000_000),
    "test": slice(95_000_000, 100_000_000),
}
_LM1B_HOME = "https://www.statmt.org/lm-benchmark/1-billion-word-language-modeling-benchmark-r13output.tar.gz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Enwik8:
    """The first 100,000,000 bytes of the English Wikipedia dump of 2006: 90 M train, 5 M validation, 5 M test.

    References:
        Mahoney, Large Text Compression Benchmark, https://mattmahoney.net/dc/textdata.html
    """

    path: Location
    """The unzipped file ``enwik8``."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        return _load_hundred_megabytes(self.path, "enwik8", split)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [("enwik8", len(_map_hundred_megabytes(self.path, "enwik8")))])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text8:
    """enwik8 cleaned to the letters a-z and the space, 100,000,000 characters: 90 M train, 5 M validation, 5 M test.

    References:
        Mahoney, Large Text Compression Benchmark, https://mattmahoney.net/dc/textdata.html
    """

    path: Location
    """The unzipped file ``text8``."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        return _load_hundred_megabytes(self.path, "text8", split)

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        return hash_identity(self, [("text8", len(_map_hundred_megabytes(self.path, "text8")))])


@dataclasses.dataclass(frozen=True, kw_only=True)
class WikiText:
    """WikiText-2 or WikiText-103 as bytes, in the authors' own split.

    Published perplexities are per word and count the end of a line as a word: ``stream.words + stream.lines``.

    References:
        Merity et al., Pointer Sentinel Mixture Models, https://arxiv.org/abs/1609.07843
    """

    path: Location
    """The folder with ``wiki.{train,valid,test}.tokens``, or with the same files in ``.raw``."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        file = self._files()[split]
        tokens = map_file(file)
        return TokenStream(tokens=tokens, description=f"{split} of WikiText: {file.name}, {len(tokens):,} bytes")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        files = self._files()
        return hash_identity(self, sizes_of_files(files["train"].parent, files.values()))

    def _files(self) -> dict[Split, Path]:
        remedy = (
            "unpack wikitext-103-v1.zip or wikitext-103-raw-v1.zip (wikitext-2 likewise) and point WikiText(path=...) "
            "at the folder with wiki.train.tokens or wiki.train.raw"
        )
        folder = require_folder(self.path, remedy)
        suffix = "raw" if (folder / "wiki.train.raw").exists() else "tokens"
        names: dict[Split, str] = {"train": "train", "validation": "valid", "test": "test"}
        return {split: require_file(folder / f"wiki.{name}.{suffix}", remedy) for split, name in names.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LM1B:
    """The One Billion Word benchmark as bytes: shuffled sentences, one a line, punctuation separated by spaces.

    Training shards 1 to 99 are train, held-out shard 0 is test and held-out shard 1 is validation, as is usual.
    Published perplexities are per word and count the end of a sentence as a word: ``stream.words + stream.lines``.

    References:
        Chelba et al., One Billion Word Benchmark, https://arxiv.org/abs/1312.3005
    """

    path: Location
    """The folder ``1-billion-word-language-modeling-benchmark-r13output``."""

    def load(self, split: Split) -> TokenStream:
        """Reads one split; see ``Source.load``."""
        files = self._files(split)
        tokens = map_file(files[0]) if len(files) == 1 else np.frombuffer(b"".join(map(read_file, files)), np.uint8)
        names = files[0].name if len(files) == 1 else f"{files[0].name} to {files[-1].name}"
        return TokenStream(tokens=tokens, description=f"{split} of LM1B: {names}, {len(tokens):,} bytes")

    def fingerprint(self) -> str:
        """Identifies the data; see ``Source.fingerprint``."""
        files = [*self._files("train"), *self._files("validation"), *self._files("test")]
        return hash_identity(self, sizes_of_files(files[0].parents[1], files))

    def _files(self, split: Split) -> list[Path]:
        remedy = f"unpack {_LM1B_HOME} and point LM1B(path=...) at the folder that it makes"
        folder = require_folder(self.path, remedy)
        held_out = "heldout-monolingual.tokenized.shuffled/news.en.heldout-{:05d}-of-00050"
        names = {
            "train": [f"training-monolingual.tokenized.shuffled/news.en-{i:05d}-of-00100" for i in range(1, 100)],
            "validation": [held_out.format(1)],
            "test": [held_out.format(0)],
        }
        return [require_file(folder / name, remedy) for name in names[split]]


def _map_hundred_megabytes(path: Location, name: str) -> np.ndarray:
    remedy = f"unzip https://mattmahoney.net/dc/{name}.zip and point path= at the file {name}"
    file = require_file(path, remedy)
    size = file.stat().st_size
    if size != _HUNDRED_MEGABYTES:
        raise ValueError(f"{name} has {_HUNDRED_MEGABYTES:,} bytes, but {file} has {size:,}: {remedy}")
    return map_file(file)


def _load_hundred_megabytes(path: Location, name: str, split: Split) -> TokenStream:
    part = _NINETY_FIVE_FIVE[split]
    tokens = _map_hundred_megabytes(path, name)[part]
    return TokenStream(tokens=tokens, description=f"{split} of {name}: bytes {part.start:,} to {part.stop:,}")
