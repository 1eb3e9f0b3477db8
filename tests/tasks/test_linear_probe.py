"""Linear probes: votes over draws, the best strength, and what scikit-learn makes of features."""

import sys

import numpy as np
import pytest

from efficient_attn.tasks.linear_probe import Labelled, accuracy, logistic_regression, most_frequent
from efficient_attn.tasks.probe_descent import gradient_descent

pytestmark = pytest.mark.fast


def test_the_class_with_most_votes_and_one_of_equals():
    votes = np.array([[2, 0, 1], [2, 1, 1], [0, 1, 3]])
    np.testing.assert_array_equal(most_frequent(votes, 0), [2, 1, 1])
    tied = np.tile([[4], [7]], (1, 200))
    found, shares = np.unique(most_frequent(tied, 0), return_counts=True)
    np.testing.assert_array_equal(found, [4, 7])
    assert min(shares) > 60


def test_accuracy_is_of_the_vote():
    # Right in two of three draws is right.
    split = Labelled(np.array([[[1.0], [0.0]], [[1.0], [0.0]], [[0.0], [1.0]]]), np.array([1, 1]))
    assert accuracy(lambda x: x[:, 0].astype(int), split) == 0.5


@pytest.mark.parametrize("way", ["L-BFGS", "descent"])
def test_classes_apart_are_told_apart_and_noise_is_not(way):
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)

    def split(count, gap):
        labels = rng.integers(0, 3, count)
        centres = gap * np.array([[0, 0, 0, 0], [1000, 0, 0, 0], [0, 0.001, 0, 0]])
        noise = rng.standard_normal((1, count, 4)) * [100, 0.0001, 0, 1]
        return Labelled(noise + centres[labels], labels)

    fit = logistic_regression((1e-3, 1.0), 100) if way == "L-BFGS" else gradient_descent((10.0, 0.1), 300)
    # However small what tells them apart is, and though one feature does not vary.
    assert accuracy(fit(split(300, 1.0), split(100, 1.0)), split(300, 1.0)) > 0.98
    assert accuracy(fit(split(300, 0.0), split(100, 0.0)), split(300, 0.0)) < 0.5
    with pytest.raises(ValueError, match=r"strengths must be positive, and iterations at least 1; got \(0.0,\) and 9"):
        logistic_regression((0.0,), 9)
    with pytest.raises(ValueError, match=r"rates must be positive, and steps at least 1; got \(1.0,\) and 0"):
        gradient_descent((1.0,), 0)


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.exceptions", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs scikit-learn: pip install 'efficient-attn\[probe\]'"):
        logistic_regression((1.0,), 10)
