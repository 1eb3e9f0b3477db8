"""Scores of classes and numbers, by hand and by the definitions."""

import numpy as np
import pytest

from efficient_attn.tasks.class_scores import class_scores, number_scores

pytest.importorskip("sklearn")


def test_two_classes_by_hand():
    right = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    found = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    # 3 true and 2 false positives, 1 false and 4 true negatives.
    scores = class_scores(found, right, 2)
    assert scores["accuracy"] == pytest.approx(0.7)
    assert scores["f1"] == pytest.approx(2 * 3 / (2 * 3 + 2 + 1))
    assert scores["macro_f1"] == pytest.approx((6 / 9 + 8 / 11) / 2)
    assert scores["mcc"] == pytest.approx((3 * 4 - 2 * 1) / np.sqrt(5 * 4 * 6 * 5))


def test_three_classes_by_hand():
    right, found = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    scores = class_scores(found, right, 3)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    # F1 of each: 1/2, 4/5, 2/3.
    assert scores["macro_f1"] == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert "f1" not in scores


def test_a_class_that_does_not_occur_counts_as_nothing():
    scores = class_scores(np.array([0, 0]), np.array([0, 0]), 2)
    assert scores == {"accuracy": 1.0, "macro_f1": 0.5, "mcc": 0.0, "f1": 0.0}


def test_numbers_by_hand():
    right, found = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 9.0])
    scores = number_scores(found, right)
    # Deviations -1.5 -0.5 0.5 1.5 and -2.75 -0.75 -1.75 5.25.
    assert scores["pearson"] == pytest.approx(11.5 / np.sqrt(5 * 38.75))
    # Ranks differ by 0, 1, 1, 0.
    assert scores["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert scores["mse"] == pytest.approx((0 + 1 + 1 + 25) / 4)


def test_a_constant_correlates_with_nothing():
    scores = number_scores(np.ones(3), np.array([1.0, 2.0, 3.0]))
    assert (scores["pearson"], scores["spearman"]) == (0.0, 0.0)
