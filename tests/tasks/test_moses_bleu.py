"""Tokenised BLEU with compounds split: a case by hand, the steps, and a score computed apart."""

import collections
import math

import pytest

from efficient_attn.tasks.moses_bleu import compound_split, compound_split_bleu, signature

pytest.importorskip("sacrebleu")
pytest.importorskip("sacremoses")
pytestmark = pytest.mark.fast

WRITTEN = ["Ein so-gut-wie neues Haus, z.B. am See.", "Das ist es nicht.", "Der Bundes-Rat tagt heute um zehn."]
RIGHT = ["Ein so gut wie neues Haus, z.B. an einem See.", "Das ist es nicht!", "Der Bundes-Rat tagt heute um elf."]


def test_the_tokens():
    assert compound_split(['It\'s a well-known, up-to-date list - "A-B".'], "en") == [
        "It &apos;s a well ##AT##-##AT## known , up ##AT##-##AT## to ##AT##-##AT## date list - &quot; A ##AT##-##AT## B &quot; ."
    ]
    # A hyphen whose left neighbour has just been split from another is left, as by the released expression.
    assert compound_split(["a-b-c"], "en") == ["a ##AT##-##AT## b-c"]
    assert compound_split(["Er kam z.B. heute."], "de") == ["Er kam z.B. heute ."]


def test_a_case_worked_by_hand():
    # well ##AT##-##AT## known friends meet: 5 tokens of which 4 are right, 3 of 4 pairs, 2 of 3 triples, 1 of 2 quadruples.
    found = compound_split_bleu(["well-known friends part"], ["well-known friends meet"], "en")
    assert found == pytest.approx(100 * math.exp(sum(map(math.log, (4 / 5, 3 / 4, 2 / 3, 1 / 2))) / 4))
    # Nothing is smoothed.
    assert compound_split_bleu(["one two three"], ["one two four"], "en") == 0.0


def multi_bleu(written, right):
    """``multi-bleu.perl`` on tokens."""
    hits, counts, lengths = [0] * 4, [0] * 4, [0, 0]
    for one, other in zip(written, right, strict=True):
        a, b = one.split(), other.split()
        lengths = [lengths[0] + len(a), lengths[1] + len(b)]
        for n in range(4):
            grams = [collections.Counter(tuple(x[i : i + n + 1]) for i in range(len(x) - n)) for x in (a, b)]
            hits[n] += sum((grams[0] & grams[1]).values())
            counts[n] += sum(grams[0].values())
    brevity = min(1.0, math.exp(1 - lengths[1] / lengths[0]))
    return 100 * brevity * math.exp(sum(math.log(h / c) for h, c in zip(hits, counts, strict=True)) / 4)


def test_the_score_computed_apart():
    expected = multi_bleu(compound_split(WRITTEN, "de"), compound_split(RIGHT, "de"))
    assert 10 < expected < 90
    assert compound_split_bleu(WRITTEN, RIGHT, "de") == pytest.approx(expected)


def test_the_signature():
    assert "|tok:moses-de|compounds:split|smooth:none|sacremoses:" in signature("de")
