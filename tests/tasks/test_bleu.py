"""BLEU and chrF: cases worked by hand, and what identifies them."""

import math

import pytest

from efficient_attn.tasks.bleu import corpus_scores, signatures

pytest.importorskip("sacrebleu")

REFERENCES = ["the cat sat on the mat .", "a dog barked ."]


def test_a_case_worked_by_hand():
    written = ["the cat sat on a mat .", "a dog barked ."]
    # Of 11 words 10 are right, of 9 pairs 7, of 7 triples 4, of 5 quadruples 2; both corpora are as long.
    precisions = (10 / 11, 7 / 9, 4 / 7, 2 / 5)
    expected = 100 * math.exp(sum(map(math.log, precisions)) / 4)
    assert corpus_scores(written, REFERENCES)["bleu"] == pytest.approx(expected)


def test_short_translations_pay_for_their_brevity():
    written = ["the cat sat on the mat .", ""]
    assert corpus_scores(written, REFERENCES)["bleu"] == pytest.approx(100 * math.exp(1 - 11 / 7))


def test_tokenisations_differ_and_case_counts():
    assert corpus_scores(REFERENCES, REFERENCES) == pytest.approx({"bleu": 100, "bleu_intl": 100, "chrf": 100})
    assert corpus_scores([text.upper() for text in REFERENCES], REFERENCES)["bleu"] < 10
    # International rules take any symbol apart, those of 13a only those of ASCII.
    found = corpus_scores(["one two three four„five“"], ["one two three four „five“"])
    assert found["bleu_intl"] == pytest.approx(100)
    assert found["bleu"] < 100


def test_bounds_are_about_the_score_and_repeat():
    written = [*REFERENCES, "one two three four five", "nothing of it at all"] * 5
    references = [*REFERENCES, "one two three four six", "quite another text here"] * 5
    found = corpus_scores(written, references, resamples=100)
    for name in ("bleu", "chrf"):
        assert 0 < found[f"{name}_low"] < found[name] < found[f"{name}_high"] < 100
    assert corpus_scores(written, references, resamples=100) == found


def test_signatures():
    found = signatures()
    assert set(found) == {"bleu_signature", "bleu_intl_signature", "chrf_signature"}
    assert found["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert "|tok:intl|" in found["bleu_intl_signature"]
