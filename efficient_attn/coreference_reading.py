"""How an encoder reads documents whose mentions are to be linked: whole sentences in parts, ``<s> pieces </s>``, each by itself.

References:
  Joshi, Levy, Zettlemoyer, Weld, "BERT for Coreference Resolution: Baselines and Analysis", 2019: independent parts.
  Beltagy, Peters, Cohan, "Longformer", 2020, section 6: one part.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from efficient_attn import data
from efficient_attn.models.coreference import BEGINS, ENDS
from efficient_attn.tasks.coreference import CoreferenceLoss, clusters_of
from efficient_attn.tasks.coreference_scores import coreference_scores
from efficient_attn.text_readings import Predictions, Results, TextReading

_NO_WORD = -1
# Mentions of a document of zeros.
_MENTIONS = 256
# As OntoNotes writes them, lest they be taken for other marks.
_SLASHED = ("/.", "/?")

Pieces = Sequence[int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolving:
    """How much of a document is read."""

    parts: int = 1
    """The most parts, of ``context`` tokens each; what is left after them is not read."""
    learned: int | None = None
    """Parts that are learned together, in blocks of a document one after the other; None: all."""

    def __post_init__(self):
        if self.parts < 1:
            raise ValueError(f"resolving.parts must be at least 1, got {self.parts}")
        if self.learned is not None and (self.learned < 1 or self.parts % self.learned):
            raise ValueError(f"resolving.learned must divide parts={self.parts}, got {self.learned}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoreferenceReading(TextReading):
    """Documents with mentions."""

    source: data.OntoNotes
    resolving: Resolving

    @property
    def loss(self) -> CoreferenceLoss:
        """What is learned."""
        return CoreferenceLoss()

    def texts(self, split: data.CoreferenceDocuments) -> tuple[Sequence[str], None]:
        """Documents."""
        return [" ".join(map(_plain, document.words)) for document in split.documents], None

    def blank_targets(self) -> np.ndarray:
        """No mention, as often as few documents have some."""
        return np.full((1, _MENTIONS, 3), -1, np.int32)

    def blank(self) -> data.Batch:
        """A training batch of one row, of a document of zeros."""
        return self._blank(self.resolving.learned or self.resolving.parts)

    def eval_blank(self) -> data.Batch:
        """An evaluation batch of one row, of a document of zeros."""
        return {**self._blank(self.resolving.parts), "scored": np.ones(1, bool)}

    def _blank(self, parts: int) -> data.Batch:
        shape = 1, parts, self.pieces.context
        rows = {"tokens": np.zeros(shape, np.int32), "types": np.zeros(shape, np.int8), "valid": np.ones(shape, bool)}
        places = {name: np.zeros(shape, np.int32) for name in ("sentences", "speakers")}
        known = {"edges": np.full(shape, BEGINS | ENDS, np.int8), "genres": np.zeros(1, np.int32)}
        return rows | places | known | {"targets": self.blank_targets()}

    def batches(self, split: data.CoreferenceDocuments) -> data.ExampleBatches:
        """The batches of every step, this process's rows of them, of blocks of documents; says how many were cut."""
        whole = super().batches(split)
        return dataclasses.replace(whole, examples=self._blocks(self.encoded(split)))

    def encode(self, split: data.CoreferenceDocuments) -> data.EncodedTexts:
        """A split as the model reads it.

        Raises:
          ValueError: if a document is of a genre that the model does not know.
        """
        pages = list(self._pages(split))
        shape = len(split), self.resolving.parts, self.pieces.context
        arrays = {name: np.stack([getattr(page, name) for page in pages]) for name in ("tokens", "sentences")}
        arrays["types"] = np.zeros(shape, np.int8)
        for name, of in (("speakers", _speakers), ("edges", _edges)):
            arrays[name] = np.stack([of(d, page) for d, page in zip(split.documents, pages, strict=True)])
        arrays["genres"] = np.array([self._genre(document) for document in split.documents], np.int32)
        if split.labelled:
            arrays["targets"] = _targets(split.documents, pages)
        return data.EncodedTexts(
            arrays=arrays,
            lengths=np.stack([page.lengths for page in pages]),
            truncated=sum(page.cut for page in pages),
            description=split.description,
        )

    def predictions(
        self, split: data.CoreferenceDocuments, examples: data.EncodedTexts, results: Results
    ) -> Predictions:
        """The clusters of each document, and their scores."""
        found = []
        for row, page in enumerate(self._pages(split)):
            words, ends = page.words.ravel(), (results["starts"][row], results["ends"][row])
            spans = list(zip(*(words[slots].tolist() for slots in ends), strict=True))
            found.append([tuple(spans[n] for n in cluster) for cluster in clusters_of(results["antecedents"][row])])
        right = [document.clusters for document in split.documents]
        scores = coreference_scores(found, right) if split.labelled else {}
        return Predictions(scores=scores, write=lambda path: data.write_clusters(path, split.documents, found))

    def _pages(self, split: data.CoreferenceDocuments) -> Iterator["Page"]:
        """Each document as it is read."""
        known = sorted({_plain(word) for document in split.documents for word in document.words})
        # A word is cut into other pieces where nothing is before it.
        numbers = dict(zip(known, self.pieces.numbers([f" {word}" for word in known]), strict=True))
        shape = self.resolving.parts, self.pieces.context
        for document in split.documents:
            own = [numbers[_plain(word)] for word in document.words]
            yield page_of(own, document.sentences, shape, (*self.pieces.ends, self.model.pad_token))

    def _genre(self, document: data.CoreferenceDocument) -> int:
        genres = self.model.linking.genres
        if document.genre not in genres:
            raise ValueError(
                f"document {document.name} is of a genre that is none of the model's linking.genres {genres}"
            )
        return genres.index(document.genre)

    def _blocks(self, whole: data.EncodedTexts) -> data.EncodedTexts:
        """Each document in blocks of as many parts as are learned together, with the mentions that lie in each."""
        size, count = self.resolving.learned or self.resolving.parts, self.pieces.context
        read = [(row, first) for row, used in enumerate((whole.lengths > 0).sum(1)) for first in range(0, used, size)]
        rows, firsts = np.array(read).T
        cut = lambda array: np.stack([array[row, first : first + size] for row, first in read])  # noqa: E731
        arrays = {
            name: cut(array) for name, array in whole.arrays.items() if array.shape[1:2] == whole.lengths.shape[1:]
        }
        arrays["genres"] = whole.arrays["genres"][rows]
        targets = whole.arrays["targets"][rows]
        places = targets[..., :2] - (firsts * count)[:, None, None]
        inside = ((places >= 0) & (places < size * count)).all(-1, keepdims=True)
        arrays["targets"] = np.where(inside, np.concatenate([places, targets[..., 2:]], axis=-1), -1)
        return dataclasses.replace(whole, arrays=arrays, lengths=cut(whole.lengths))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A document as tokens, in parts."""

    tokens: Int[np.ndarray, "parts T"]
    words: Int[np.ndarray, "parts T"]
    """Which word of the document each is of; -1: of none."""
    sentences: Int[np.ndarray, "parts T"]
    """Of the words; -1: there is none."""
    lengths: Int[np.ndarray, " parts"]
    """Tokens of each part; 0: it is not needed."""
    cut: bool
    """Whether words did not fit."""


def page_of(
    words: Sequence[Pieces], sentences: Sequence[int], shape: tuple[int, int], special: tuple[int, int, int]
) -> Page:
    """A document in parts that end with sentences, or, where one is longer than a part, with words.

    Args:
      words: the pieces of each; a word that is longer than a part is cut.
      sentences: of each word.
      shape: the most parts, and the tokens of each.
      special: what begins a part, what ends it, and what fills it up.
    """
    parts, context = shape
    first, last, pad = special
    tokens, places = np.full(shape, pad, np.int32), np.full(shape, _NO_WORD, np.int32)
    lengths, cut, room = np.zeros(parts, np.int32), False, context - 2
    part, filled = 0, 0
    for unit in _units(words, sentences, room):
        pieces = [(word, piece) for word in unit for piece in words[word][:room]]
        if filled + len(pieces) > room:
            part, filled = part + 1, 0
        if part == parts:
            cut = True
            break
        stop = 1 + filled + len(pieces)
        places[part, 1 + filled : stop] = [word for word, _ in pieces]
        tokens[part, 1 + filled : stop] = [piece for _, piece in pieces]
        tokens[part, [0, stop]], lengths[part], filled = (first, last), stop + 1, stop - 1
    of = np.where(places >= 0, np.array(sentences, np.int32)[places], -1).astype(np.int32)
    return Page(tokens=tokens, words=places, sentences=of, lengths=lengths, cut=cut)


def _units(words: Sequence[Pieces], sentences: Sequence[int], room: int) -> Iterator[list[int]]:
    """What stays together: the words of a sentence, or each by itself where they have no room."""
    for _, group in itertools.groupby(range(len(words)), key=lambda word: sentences[word]):
        sentence = list(group)
        whole = sum(len(words[word]) for word in sentence) <= room
        yield from [sentence] if whole else [[word] for word in sentence]


def _edges(document: data.CoreferenceDocument, page: Page) -> Int[np.ndarray, "parts T"]:
    """Where words begin and end."""
    del document
    around = np.pad(page.words, ((0, 0), (1, 1)), constant_values=_NO_WORD)
    begins, ends = page.words != around[:, :-2], page.words != around[:, 2:]
    return np.where(page.words >= 0, begins * BEGINS + ends * ENDS, 0).astype(np.int8)


def _speakers(document: data.CoreferenceDocument, page: Page) -> Int[np.ndarray, "parts T"]:
    """Who says each token, as numbers in the order in which they begin to speak."""
    names = {name: number for number, name in enumerate(dict.fromkeys(document.speakers))}
    numbers = np.array([names[name] for name in document.speakers], np.int32)
    return np.where(page.words >= 0, numbers[page.words], -1)


def _targets(documents: Sequence[data.CoreferenceDocument], pages: Sequence[Page]) -> Int[np.ndarray, "n mentions 3"]:
    """The mentions of all documents, filled up with -1."""
    mentions = [_mentions(document, page) for document, page in zip(documents, pages, strict=True)]
    rows = np.full((len(mentions), max(1, *map(len, mentions)), 3), -1, np.int32)
    for row, own in zip(rows, mentions, strict=True):
        row[: len(own)] = np.array(own, np.int32).reshape(-1, 3)
    return rows


def _mentions(document: data.CoreferenceDocument, page: Page) -> list[tuple[int, int, int]]:
    """First and last tokens, over all parts, and the cluster of each mention that is read."""
    words = page.words.ravel()
    slots = np.flatnonzero(words >= 0)
    found = []
    for number, cluster in enumerate(document.clusters):
        for begin, end in cluster:
            # Words without a piece are passed over.
            first, stop = np.searchsorted(words[slots], (begin, end + 1))
            if first < stop and (end <= words[slots[-1]]):
                found.append((int(slots[first]), int(slots[stop - 1]), number))
    return found


def _plain(word: str) -> str:
    return word[1:] if word in _SLASHED else word
