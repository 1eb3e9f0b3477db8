"""How an encoder reads a question, its candidates and the texts that tell which is right.

A question and all candidates stand before each part of the texts: ``<s> [question] q [/question] [ent] c [/ent] ... </s> text </s>
text </s>``, where the four in brackets are tokens of their own, the last of the model's vocabulary. They see and are seen by all.

Reference:
  Beltagy, Peters, Cohan, "Longformer", 2020, section 6 and appendix E.1: WikiHop.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from efficient_attn import data
from efficient_attn.models import Longformer
from efficient_attn.tasks.candidates import CandidateLoss
from efficient_attn.text_readings import Predictions, Results, TextReading

MARKS = 4
"""Tokens that a checkpoint's vocabulary does not have: where the question and a candidate begin and end."""

_CANDIDATES = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choosing:
    """How much is read before a candidate is chosen."""

    parts: int = 1
    """The most parts into which texts are cut that are longer than the context; what is left after them is not read."""

    def __post_init__(self):
        if self.parts < 1:
            raise ValueError(f"choosing.parts must be at least 1, got {self.parts}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CandidateReading(TextReading):
    """Questions with candidates."""

    source: data.WikiHop
    choosing: Choosing

    @property
    def loss(self) -> CandidateLoss:
        """What is learned."""
        return CandidateLoss()

    def texts(self, split: data.CandidateQuestions) -> tuple[Sequence[str], Sequence[str]]:
        """Questions with all their candidates, and all their texts."""
        asked = [" ".join((q, *some)) for q, some in zip(split.questions, split.candidates, strict=True)]
        return asked, [" ".join(texts) for texts in split.supports]

    def blank_targets(self) -> np.ndarray:
        """The first candidate."""
        return np.zeros(1, np.int32)

    def blank(self) -> data.Batch:
        """A training batch of one row, of texts of zeros and as many candidates as few questions have."""
        shape = 1, self.choosing.parts, self.pieces.context
        tokens, candidates = np.zeros(shape, np.int32), np.full(1, _CANDIDATES, np.int32)
        where = {"entities": np.zeros((1, _CANDIDATES), np.int32), "shared": np.ones(1, np.int32)}
        rows = {"tokens": tokens, "types": tokens.astype(np.int8), "valid": np.ones(shape, bool), **where}
        return rows | {"candidates": candidates, "targets": self.blank_targets()}

    def encode(self, split: data.CandidateQuestions) -> data.EncodedTexts:
        """A split as the model reads it.

        Raises:
          ValueError: if a question and its candidates leave no room for a text, or are more tokens than can be global.
        """
        most = max(map(len, split.candidates))
        shape = len(split), self.choosing.parts, self.pieces.context
        tokens, lengths = np.full(shape, self.model.pad_token, np.int32), np.zeros(shape[:2], np.int32)
        entities, shared = np.zeros((len(split), most), np.int32), np.zeros(len(split), np.int32)
        truncated = 0
        for row, candidates in enumerate(split.candidates):
            begin = self._beginning(split.questions[row], candidates)
            shared[row] = self._checked(len(begin), split.keys[row])
            entities[row, : len(candidates)] = np.flatnonzero(begin == self.model.vocab - MARKS + 2)
            parts = self._parts(begin, split.supports[row])
            truncated += len(parts) > self.choosing.parts
            for place, part in enumerate(parts[: self.choosing.parts]):
                tokens[row, place, : len(part)], lengths[row, place] = part, len(part)
        arrays = {"tokens": tokens, "types": np.zeros(shape, np.int8), "entities": entities, "shared": shared}
        arrays["candidates"] = np.array(list(map(len, split.candidates)), np.int32)
        if split.labels is not None:
            arrays["targets"] = np.array(split.labels, np.int32)
        return data.EncodedTexts(arrays=arrays, lengths=lengths, truncated=truncated, description=split.description)

    def predictions(self, split: data.CandidateQuestions, examples: data.EncodedTexts, results: Results) -> Predictions:
        """The best candidate for each question, and how many are right."""
        found = np.argmax(results["logits"], axis=1)
        right = examples.arrays.get("targets")
        scores = {} if right is None else {"accuracy": float(np.mean(found == right))}
        said = [candidates[place] for candidates, place in zip(split.candidates, found, strict=True)]
        return Predictions(scores=scores, write=lambda path: data.write_candidates(path, split.keys, said))

    def _beginning(self, question: str, candidates: Sequence[str]) -> np.ndarray:
        """Tokens before the texts."""
        asked, *named = self.pieces.numbers([question, *candidates])
        q, q_end, ent, ent_end = range(self.model.vocab - MARKS, self.model.vocab)
        first, _ = self.pieces.ends
        found = [first, q, *asked, q_end]
        for name in named:
            found += [ent, *name, ent_end]
        return np.array(found, np.int32)

    def _parts(self, begin: np.ndarray, supports: Sequence[str]) -> list[np.ndarray]:
        """What is read: all texts, cut where the context ends, each part after the same beginning."""
        _, separator = self.pieces.ends
        texts = self.pieces.numbers(supports)
        joined = np.array([n for text in texts for n in (separator, *text)][1:], np.int32)
        room = self.pieces.context - len(begin) - 2
        pieces = [joined[start : start + room] for start in range(0, max(len(joined), 1), room)]
        return [np.concatenate([begin, [separator], piece, [separator]]) for piece in pieces]

    def _checked(self, tokens: int, key: str) -> int:
        attention = self.model.attention
        if tokens + 2 >= self.pieces.context:
            raise ValueError(
                f"question {key} and its candidates are {tokens} tokens: context={self.pieces.context} leaves no room for texts"
            )
        if isinstance(attention, Longformer) and tokens > attention.max_globals:
            raise ValueError(
                f"question {key} and its candidates are {tokens} tokens, all global: max_globals must be as many, got "
                f"{attention.max_globals}"
            )
        return tokens
