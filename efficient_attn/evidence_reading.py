"""How an encoder reads a question and several paragraphs, and what it says of them: an answer and the sentences that it rests on.

``<s> [question] q [/question] <t> title </t> sentence [s] sentence [s] <t> title </t> ... </s>``: the five marks are tokens of
their own, the last of the model's vocabulary. The question and all marks of titles and sentences see and are seen by all. Where one
text has no room for the paragraphs they are in parts, each after the question, of which none sees another.

Reference:
  Beltagy, Peters, Cohan, "Longformer", 2020, section 6 and appendix E.2: HotpotQA.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from efficient_attn import data
from efficient_attn.files import replacing
from efficient_attn.models import Longformer
from efficient_attn.tasks.answers import best_spans
from efficient_attn.tasks.evidence import KINDS, QUESTION, SENTENCE, TITLE, EvidenceLoss, evidence_scores
from efficient_attn.text_readings import Predictions, Results, TextReading

MARKS = 5
"""Tokens that a checkpoint's vocabulary does not have."""

# Places of an answer that are learned at most, tokens of a span at most, and beginnings and ends that are tried.
_PLACES, _LONGEST, _BEST = 16, 30, 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Concluding:
    """How many paragraphs are read together, and what a run that reads all hands on to one that reads some of them."""

    parts: int = 1
    """The most parts of ``context`` tokens, of whole paragraphs, each with the question before it."""

    paragraphs: int = 5
    """The most of a question."""
    score: float = -3.0
    """The logit above which one is handed on."""

    def __post_init__(self):
        if self.parts < 1:
            raise ValueError(f"concluding.parts must be at least 1, got {self.parts}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceReading(TextReading):
    """Questions about several paragraphs."""

    source: data.HotpotQA
    concluding: Concluding

    @property
    def loss(self) -> EvidenceLoss:
        """What is learned."""
        return EvidenceLoss()

    def texts(self, split: data.EvidenceQuestions) -> tuple[Sequence[str], Sequence[str]]:
        """Questions, and all paragraphs of each."""
        read = [" ".join(t for p in q.paragraphs for t in (p.title, *p.sentences)) for q in split.questions]
        return [question.question for question in split.questions], read

    def blank_targets(self) -> np.ndarray:
        """The first token, as often as answers have room."""
        return np.zeros((1, _PLACES, 2), np.int32)

    def blank(self) -> data.Batch:
        """A training batch of one row, of a text of zeros."""
        shape = 1, *self._shape
        rows = {"tokens": np.zeros(shape, np.int32), "valid": np.ones(shape, bool), "targets": self.blank_targets()}
        nothing = {name: np.zeros(shape, np.int8) for name in ("types", "marks", "facts")}
        return rows | nothing | {"kinds": np.zeros(1, np.int32)}

    @property
    def _shape(self) -> tuple[int, ...]:
        """Of what is read of a question: tokens, or parts and tokens."""
        parts = (self.concluding.parts,) if self.concluding.parts > 1 else ()
        return *parts, self.pieces.context

    def encode(self, split: data.EvidenceQuestions) -> data.EncodedTexts:
        """A split as the model reads it.

        Raises:
          ValueError: if more tokens are global than the model's attention takes.
        """
        count, parts, context = len(split), self.concluding.parts, self.pieces.context
        # Slots are counted over all parts.
        arrays: dict[str, np.ndarray] = {
            name: np.zeros((count, parts * context), np.int8) for name in ("types", "marks", "facts")
        }
        arrays["tokens"] = np.full((count, parts * context), self.model.pad_token, np.int32)
        arrays |= {"kinds": np.zeros(count, np.int32), "targets": np.full((count, _PLACES, 2), -1, np.int32)}
        lengths, truncated = np.zeros((count, parts), np.int32), 0
        for row, page in enumerate(self._pages(split)):
            truncated += page.cut
            for place, (tokens, marks) in enumerate(page.parts):
                slots = slice(place * context, place * context + len(tokens))
                arrays["tokens"][row, slots], arrays["marks"][row, slots] = tokens, marks
                lengths[row, place] = len(tokens)
            self._check(page, split.questions[row].key)
            self._teach(arrays, row, page, split.questions[row])
        arrays = arrays if split.labelled else {k: v for k, v in arrays.items() if k != "targets"}
        read = ("types", "marks", "facts", "tokens")
        arrays |= {name: arrays[name].reshape(count, *self._shape) for name in read}
        lengths = lengths.reshape(count, *self._shape[:-1])
        return data.EncodedTexts(arrays=arrays, lengths=lengths, truncated=truncated, description=split.description)

    def predictions(self, split: data.EvidenceQuestions, examples: data.EncodedTexts, results: Results) -> Predictions:
        """An answer and its sentences for each question, and their scores."""
        found, kept = {}, {}
        for row, (question, page) in enumerate(zip(split.questions, self._pages(split), strict=True)):
            one = {name: results[name][row] for name in ("logits", "start_logits", "end_logits", "evidence_logits")}
            found[question.key] = (self._answer(page, one), frozenset(_facts(page, one["evidence_logits"])))
            kept[question.key] = self._kept(page, one["evidence_logits"])
        right = {q.key: (q.answer, q.facts) for q in split.questions}
        scores = evidence_scores(found, right) if split.labelled else {}
        return Predictions(scores=scores, write=lambda path: _write(path, found, kept))

    def _pages(self, split: data.EvidenceQuestions) -> Iterator["Page"]:
        """What is read of each question."""
        first, last = self.pieces.ends
        marks = range(self.model.vocab - MARKS, self.model.vocab)
        for question in split.questions:
            texts = [question.question, *(t for p in question.paragraphs for t in (p.title, *p.sentences))]
            shape = self.concluding.parts, self.pieces.context
            yield page_of(question, self.pieces.encoded(texts), (first, *marks, last), shape)

    def _check(self, page: "Page", key: str) -> None:
        attention, count = self.model.attention, max(int(np.count_nonzero(marks)) for _, marks in page.parts)
        if isinstance(attention, Longformer) and count > attention.max_globals:
            raise ValueError(
                f"question {key} and the marks of its paragraphs are {count} tokens, all global: max_globals must be as many, got "
                f"{attention.max_globals}"
            )

    def _teach(self, arrays: Mapping[str, np.ndarray], row: int, page: "Page", question: data.EvidenceQuestion) -> None:
        """Writes what is to be learned from a page."""
        titles = {title for title, _ in question.facts}
        for slot, title in page.titles:
            arrays["facts"][row, slot] = title in titles
        for sentence in page.sentences:
            arrays["facts"][row, sentence.slot] = sentence.fact in question.facts
        answer = question.answer or ""
        if answer in KINDS[1:]:
            arrays["kinds"][row] = KINDS.index(answer)
            return
        for place, span in enumerate(_places(page, answer, question.facts)[:_PLACES]):
            arrays["targets"][row, place] = span

    def _answer(self, page: "Page", results: Mapping[str, np.ndarray]) -> str:
        kind = KINDS[int(np.argmax(results["logits"]))]
        if kind != "span" or not page.sentences:
            return kind if kind != "span" else ""
        allowed = range(page.sentences[0].begin, page.sentences[-1].slot)
        for span in best_spans(results["start_logits"], results["end_logits"], allowed, _BEST, _LONGEST):
            for sentence in page.sentences:
                if sentence.begin <= span.start and span.end < sentence.slot:
                    return sentence.text_of(span.start, span.end)
        return ""

    def _kept(self, page: "Page", logits: np.ndarray) -> list[str]:
        """Titles of the paragraphs that are handed on, the best first; the best in any case."""
        ordered = sorted(((float(logits[slot]), title) for slot, title in page.titles), reverse=True)
        most = [title for score, title in ordered[: self.concluding.paragraphs] if score > self.concluding.score]
        return most or [title for _, title in ordered[:1]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence on a page."""

    fact: data.Fact
    begin: int
    """Slot of its first token."""
    slot: int
    """Of the mark at its end."""
    text: str
    offsets: Sequence[tuple[int, int]]
    """Where its tokens begin and end in the text."""

    def text_of(self, start: int, end: int) -> str:
        """What its tokens in these slots stand for."""
        return self.text[self.offsets[start - self.begin][0] : self.offsets[end - self.begin][1]].strip()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """A question and its paragraphs as tokens."""

    parts: Sequence[tuple[Sequence[int], Sequence[int]]]
    """The tokens of each and their marks."""
    titles: Sequence[tuple[int, str]]
    """The slot of the mark before each title, counted over all parts."""
    sentences: Sequence[Sentence]
    cut: bool
    """Whether sentences did not fit."""


def page_of(
    question: data.EvidenceQuestion, encodings: Sequence[Any], special: Sequence[int], shape: tuple[int, int]
) -> Page:
    """A page; paragraphs whose title does not fit in its last part and sentences that do not are left out.

    Args:
      question: what is asked and read.
      encodings: of the question, and of each title and its sentences.
      special: the first token, the marks of a question's and a title's beginning and end and of a sentence's end, the last token.
      shape: the most parts, and the most tokens of each.
    """
    first, q, q_end, t, t_end, s, last = special
    most, context = shape
    asked, *rest = encodings
    begin = [first, q, *asked.ids, q_end], [QUESTION] * (len(asked.ids) + 3)
    parts, titles, sentences, left, cut = [tuple(map(list, begin))], [], [], iter(rest), False
    for paragraph in question.paragraphs:
        name, own = next(left), [next(left) for _ in paragraph.sentences]
        whole = len(name.ids) + 3 + sum(len(found.ids) + 1 for found in own)
        if len(parts[-1][0]) + whole > context and len(parts[-1][0]) > len(begin[0]) and len(parts) < most:
            parts.append(tuple(map(list, begin)))
        (tokens, marks), before = parts[-1], (len(parts) - 1) * context
        if len(tokens) + len(name.ids) + 3 > context:
            cut = True
            continue
        titles.append((before + len(tokens), paragraph.title))
        tokens += [t, *name.ids, t_end]
        marks += [TITLE, *[0] * (len(name.ids) + 1)]
        read = list(_read(paragraph, own, s, parts[-1], before, context))
        sentences, cut = sentences + read, cut or len(read) < len(own)
    ended = [([*tokens, last][:context], [*marks, 0][:context]) for tokens, marks in parts]
    return Page(parts=ended, titles=titles, sentences=sentences, cut=cut)


def _read(
    paragraph: data.Paragraph, own: Sequence[Any], mark: int, part: tuple[list[int], ...], before: int, context: int
) -> Iterator[Sentence]:
    """Writes the sentences of a paragraph that a part has room for, and marks of their ends; ``before`` slots are of others."""
    tokens, marks = part
    for number, (text, found) in enumerate(zip(paragraph.sentences, own, strict=True)):
        if len(tokens) + len(found.ids) + 2 > context:
            return
        start, fact = before + len(tokens), (paragraph.title, number)
        tokens += [*found.ids, mark]
        marks += [*[0] * len(found.ids), SENTENCE]
        yield Sentence(fact=fact, begin=start, slot=start + len(found.ids), text=text, offsets=found.offsets)


def _places(page: Page, answer: str, facts: frozenset[data.Fact]) -> list[tuple[int, int]]:
    """First and last tokens of an answer, wherever it stands in the sentences that answer, or else in any."""
    found = [(s.fact in facts, place) for s in page.sentences for place in _in_sentence(s, answer)]
    return [place for inside, place in found if inside] or [place for _, place in found]


def _in_sentence(sentence: Sentence, answer: str) -> Iterator[tuple[int, int]]:
    starts, ends = (np.array([pair[n] for pair in sentence.offsets]) for n in (0, 1))
    for match in re.finditer(re.escape(answer), sentence.text) if answer and len(starts) else ():
        # The first token that ends after the answer begins, and the last that begins before it ends.
        first = int(np.searchsorted(ends, match.start(), side="right"))
        final = int(np.searchsorted(starts, match.end(), side="left")) - 1
        if first <= final:
            yield sentence.begin + first, sentence.begin + final


def _facts(page: Page, logits: np.ndarray) -> Iterator[data.Fact]:
    """Sentences of the two paragraphs that have the most certain ones: that one of each, and others that are likelier than not."""
    best: dict[str, float] = {}
    for sentence in page.sentences:
        title, score = sentence.fact[0], float(logits[sentence.slot])
        best[title] = max(score, best.get(title, score))
    two = sorted(best, key=lambda title: -best[title])[:2]
    for sentence in page.sentences:
        score = float(logits[sentence.slot])
        if sentence.fact[0] in two and (score > 0 or score == best[sentence.fact[0]]):
            yield sentence.fact


def _write(path: Path, found: Mapping[str, Any], kept: Mapping[str, list[str]]) -> None:
    """Writes answers and sentences as HotpotQA's benchmark takes them, and beside them the paragraphs that are handed on."""
    answers = {key: answer for key, (answer, _) in found.items()}
    facts = {key: sorted([title, number] for title, number in some) for key, (_, some) in found.items()}
    for file, said in ((path, {"answer": answers, "sp": facts}), (path.with_suffix(".kept.json"), kept)):
        with replacing(file) as partial:
            partial.write_text(json.dumps(said, ensure_ascii=False) + "\n", encoding="utf-8")
