"""Scores of classes and numbers as official scorers give them: accuracy, F1, Matthews' and other correlations.

F1 of two classes is that of the second, as GLUE counts paraphrases. Correlations are 0 where a side is constant.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Integer


def class_scores(
    found: Integer[np.ndarray, " count"], right: Integer[np.ndarray, " count"], classes: int
) -> dict[str, float]:
    """``accuracy``, ``macro_f1``, ``mcc``, and of two classes ``f1``.

    Raises:
      ModuleNotFoundError: if scikit-learn is not installed.
    """
    metrics = _scikit_learn()
    options: Mapping[str, Any] = {"labels": np.arange(classes), "average": None, "zero_division": 0.0}
    each = metrics.f1_score(right, found, **options)
    varied = np.ptp(found) > 0 and np.ptp(right) > 0
    scores = {
        "accuracy": float(np.mean(found == right)),
        "macro_f1": float(np.mean(each)),
        "mcc": float(metrics.matthews_corrcoef(right, found)) if varied else 0.0,
    }
    return scores | ({"f1": float(each[1])} if classes == 2 else {})


def number_scores(found: Float[np.ndarray, " count"], right: Float[np.ndarray, " count"]) -> dict[str, float]:
    """``pearson`` and ``spearman`` correlation, and the mean squared error, ``mse``.

    Raises:
      ModuleNotFoundError: if scipy is not installed.
    """
    try:
        from scipy import stats
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("correlations need scipy: pip install 'efficient-attn[probe]'") from error
    constant = len(found) < 2 or np.ptp(found) == 0 or np.ptp(right) == 0
    measures = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    scores = {name: 0.0 if constant else float(of(found, right).statistic) for name, of in measures.items()}
    return scores | {"mse": float(np.mean((found - right) ** 2))}


def _scikit_learn() -> Any:
    try:
        from sklearn import metrics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("scores need scikit-learn: pip install 'efficient-attn[probe]'") from error
    return metrics
