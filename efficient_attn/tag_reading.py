"""How an encoder reads sentences whose words have tags: the first token of a word tells its tag."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from efficient_attn import data
from efficient_attn.tasks.tagging import TagLoss, tag_scores
from efficient_attn.text_readings import Predictions, Results, TextReading

_OUTSIDE = "O"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TagReading(TextReading):
    """Sentences, their words joined by spaces; a word that is cut off is taken to be outside of all names."""

    source: data.CoNLL

    @property
    def loss(self) -> TagLoss:
        """What is learned."""
        return TagLoss()

    def texts(self, split: data.TaggedSentences) -> tuple[Sequence[str], None]:
        """Sentences."""
        return [" ".join(words) for words in split.words], None

    def blank_targets(self) -> np.ndarray:
        """Tokens without a tag."""
        return np.full((1, self.pieces.context), -1, np.int32)

    def encode(self, split: data.TaggedSentences) -> data.EncodedTexts:
        """A split as the model reads it."""
        rows = data.padded(self.pieces.framed(*self.texts(split)), self.pieces.context, self.model.pad_token)
        arrays = dict(rows.arrays)
        if split.tags is not None:
            arrays["targets"] = np.full(arrays["tokens"].shape, -1, np.int32)
            places = {tag: place for place, tag in enumerate(self.model.labels)}
            for row, tags, slots in zip(arrays["targets"], split.tags, self._slots(split), strict=True):
                if unknown := set(tags) - set(places):
                    raise ValueError(f"tag {min(unknown)!r} is none of the model's labels {self.model.labels}")
                row[slots[slots >= 0]] = [places[tag] for tag, slot in zip(tags, slots, strict=True) if slot >= 0]
        return data.EncodedTexts(arrays=arrays, **rows.counted, description=split.description)

    def predictions(self, split: data.TaggedSentences, examples: data.EncodedTexts, results: Results) -> Predictions:
        """A tag for each word, and the scores of the names that they stand for."""
        best = np.argmax(results["logits"], axis=-1)
        found = [
            tuple(self.model.labels[row[slot]] if slot >= 0 else _OUTSIDE for slot in slots)
            for row, slots in zip(best, self._slots(split), strict=True)
        ]
        scores = {} if split.tags is None else tag_scores(found, split.tags)
        return Predictions(scores=scores, write=lambda path: data.write_tagged(path, split, found))

    def _slots(self, split: data.TaggedSentences) -> list[Int[np.ndarray, " words"]]:
        """The first token of each word; -1 of one without."""
        found = []
        for words, encoding in zip(split.words, self.pieces.framed(*self.texts(split)), strict=True):
            begins = np.cumsum([0, *[len(word) + 1 for word in words[:-1]]])
            tokens = [n for n, part in enumerate(encoding.sequence_ids) if part == 0]
            ends = np.array([encoding.offsets[n][1] for n in tokens])
            starts = np.array([encoding.offsets[n][0] for n in tokens])
            first = np.searchsorted(ends, begins, side="right")
            stops = begins + [len(word) for word in words]
            inside = [place < len(tokens) and starts[place] < stop for place, stop in zip(first, stops, strict=True)]
            held = [tokens[place] if there else -1 for place, there in zip(first, inside, strict=True)]
            found.append(np.array(held))
        return found
