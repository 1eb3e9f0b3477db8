"""Answers in texts: the loss, the choice of spans, and scores worked out by hand after SQuAD's scripts."""

import jax.numpy as jnp
import numpy as np
import pytest

from efficient_attn.models import EncoderOutput
from efficient_attn.tasks.answers import (
    Answer,
    AnswerLoss,
    answer_scores,
    best_spans,
    exact,
    normalised,
    overlap,
    spoken,
)


def loss(start, end, places, valid=None):
    logits = {"start_logits": jnp.array([start], jnp.float32), "end_logits": jnp.array([end], jnp.float32)}
    output = EncoderOutput(last_hidden_state=jnp.zeros((1, len(start), 1)), **logits)
    valid = jnp.ones((1, len(start)), bool) if valid is None else jnp.array([valid])
    return float(
        AnswerLoss.__call__.__wrapped__(AnswerLoss(), output, {"targets": jnp.array([places]), "valid": valid})[0]
    )


def chances(logits):
    return np.exp(logits) / np.exp(logits).sum()


def test_one_place_is_cross_entropy():
    start, end = np.array([0.5, 2.0, -1.0, 0.0]), np.array([1.0, 0.0, 3.0, -2.0])
    expected = -(np.log(chances(start)[1]) + np.log(chances(end)[2])) / 2
    assert loss(start, end, [[1, 2]]) == pytest.approx(expected, rel=1e-5)
    assert loss(start, end, [[1, 2], [-1, -1]]) == pytest.approx(expected, rel=1e-5)


def test_many_places_are_one_event():
    start, end = np.array([0.5, 2.0, -1.0, 0.0]), np.array([1.0, 0.0, 3.0, -2.0])
    expected = -(np.log(chances(start)[1] + chances(start)[3]) + np.log(chances(end)[2])) / 2
    assert loss(start, end, [[1, 2], [3, -1]]) == pytest.approx(expected, rel=1e-5)


def test_slots_without_a_token_have_no_chance():
    start = np.array([0.5, 2.0, 9.0])
    expected = -np.log(chances(start[:2])[1])
    assert loss(start, start, [[1, 1]], [True, True, False]) == pytest.approx(expected, rel=1e-5)


def test_the_best_span_of_every_pair():
    start, end = np.random.default_rng(0).normal(size=(2, 12))
    allowed, longest = range(3, 11), 4
    pairs = {(i, j): start[i] + end[j] for i in allowed for j in allowed if i <= j < i + longest}
    found = best_spans(start, end, allowed, 20, longest)
    assert (found[0].start, found[0].end) == max(pairs, key=pairs.__getitem__)
    assert [span.score for span in found] == sorted((span.score for span in found), reverse=True)
    assert {(s.start, s.end) for s in best_spans(start, end, allowed, 100, longest)} == set(pairs)


def test_what_is_normalised():
    assert normalised("The  Eiffel-Tower, a landmark.") == "eiffeltower landmark"
    assert (exact("the Paris!", ["London", "paris"]), exact("Paris", [])) == (1.0, 0.0)
    assert (exact("", []), overlap("", []), overlap("x", [])) == (1.0, 1.0, 0.0)
    # Two of three words said, two of four meant.
    assert overlap("big red dog", ["red dog house here"]) == pytest.approx(2 * 2 / (3 + 4))


def test_scores_with_and_without_a_threshold():
    answers = {
        "sure": Answer(text="one", doubt=-5.0),
        "wrong": Answer(text="two words", doubt=-4.0),
        "none": Answer(text="three", doubt=-3.0),
        "unsure": Answer(text="four", doubt=2.0),
    }
    right = {"sure": ["one"], "wrong": ["two"], "none": [], "unsure": ["four"]}
    scores = answer_scores(answers, right, 0.0)
    assert spoken(answers, 0.0) == {"sure": "one", "wrong": "two words", "none": "three", "unsure": ""}
    assert scores["exact"] == pytest.approx(1 / 4)
    assert scores["f1"] == pytest.approx((1 + 2 / 3) / 4)
    # By growing doubt each answer said gains 1, 0, -1 and 1 over saying none, and none of them said is right once.
    assert scores["best_exact"] == pytest.approx(2 / 4)
    assert scores["best_f1"] == pytest.approx((1 + 1 + 2 / 3) / 4)
    always = answer_scores(answers, right, None)
    assert set(always) == {"exact", "f1"}
    assert always["exact"] == pytest.approx(2 / 4)
