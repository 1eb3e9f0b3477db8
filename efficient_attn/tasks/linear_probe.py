"""A linear probe: how well classes are told apart by a linear map of fixed features.

Reference:
  Chen, Radford, Child, Wu, Jun, Luan, Sutskever, "Generative Pretraining from Pixels", 2020, sections 2.4 and 4.6.
"""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

Predict = Callable[[Float[np.ndarray, "count D"]], Integer[np.ndarray, " count"]]
"""From features to classes."""


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Features of one split, and the classes."""

    features: Float[np.ndarray, "M count D"]
    """For each of the draws that an image is seen with; of an image that is seen as it is, one."""
    labels: Integer[np.ndarray, " count"]


Fit = Callable[[Labelled, Labelled], Predict]
"""From a training and a validation split to a classifier."""


def logistic_regression(strengths: Sequence[float], iterations: int) -> Fit:
    """Logistic regression by L-BFGS on features of mean 0 and variance 1.

    Args:
      strengths: weights of the data against the penalty on squares; that with the best validation accuracy is taken.
      iterations: the most steps of L-BFGS.

    Raises:
      ModuleNotFoundError: scikit-learn is not installed.
      ValueError: no strengths, or one that is not positive, or no iterations.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a linear probe needs scikit-learn: pip install 'efficient-attn[probe]'") from error
    if not strengths or min(strengths) <= 0 or iterations < 1:
        raise ValueError(f"strengths must be positive, and iterations at least 1; got {strengths} and {iterations}")

    def fitted(train: Labelled, strength: float) -> Predict:
        features, labels, scaled = standardised(train)
        model = LogisticRegression(C=strength, max_iter=iterations)
        with warnings.catch_warnings():
            # The number of iterations is part of what is asked for.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(scaled(features), labels)
        return lambda features: model.predict(scaled(features))

    return lambda train, validation: best((fitted(train, strength) for strength in strengths), validation)


def standardised(train: Labelled) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Features and classes of all draws, and what gives features these features' mean of 0 and variance of 1."""
    every = train.features.reshape(-1, train.features.shape[-1])
    # A pixel that is always black varies by 0.
    mean, scale = every.mean(0), np.maximum(every.std(0), 1e-6)
    return every, np.tile(train.labels, len(train.features)), lambda features: (features - mean) / scale


def best(found: Iterable[Predict], validation: Labelled) -> Predict:
    """Of several classifiers the one with the best validation accuracy."""
    return max(found, key=lambda predict: accuracy(predict, validation))


def accuracy(predict: Predict, split: Labelled, seed: int = 0) -> float:
    """The share of images whose class is the one predicted most often over their draws; of equals, one at random."""
    votes = np.stack([predict(features) for features in split.features])
    return float(np.mean(most_frequent(votes, seed) == split.labels))


def most_frequent(votes: Integer[np.ndarray, "M count"], seed: int) -> Integer[np.ndarray, " count"]:
    """The class that each image has most of its votes for; of equals, one at random."""
    counts: Any = (votes[..., None] == np.arange(votes.max() + 1)).sum(0)
    return np.argmax(counts + np.random.default_rng(seed).uniform(0.0, 0.5, counts.shape), axis=1)
