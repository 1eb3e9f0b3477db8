"""How far clusters of mentions agree, as CoNLL-2012's scorer says it: MUC, B-cubed, CEAF of entities, and the mean of the three.

With clusters ``K`` of the key and ``R`` of the response, all mentions of each taken together, and of all documents:

- MUC: links. Recall is ``sum_K (|K| - parts(K)) / sum_K (|K| - 1)``, where ``parts`` counts the pieces into which the response
  cuts a cluster, each mention that it has not being one; precision is the same the other way round.
- B-cubed: mentions. Recall is the mean over the key's mentions of the share of their cluster that is with them in the response.
- CEAF: clusters, each paired with one at most so that the sum of ``2 |K & R| / (|K| + |R|)`` is the greatest. Recall is that sum
  over the number of the key's clusters, precision over that of the response's.

References:
  Pradhan, Luo, Recasens, Hovy, Ng, Strube, "Scoring Coreference Partitions of Predicted Mentions: A Reference
  Implementation", 2014.
  Vilain et al., 1995 (MUC); Bagga, Baldwin, 1998 (B-cubed); Luo, 2005 (CEAF).
"""

import collections
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from scipy.optimize import linear_sum_assignment

Mention = tuple[int, int]
Clusters = Sequence[Sequence[Mention]]
"""Of one document; a mention is in one cluster at most."""
Share = tuple[float, float]
"""What is right, and of how much."""


def coreference_scores(found: Sequence[Clusters], right: Sequence[Clusters]) -> dict[str, float]:
    """Precision, recall and F1 of each measure, from sums over all documents, and ``conll_f1``, the mean F1.

    Args:
      found: the response's clusters of each document.
      right: the key's.
    """
    scores = {}
    for name, measure in _MEASURES.items():
        rows = [measure(key, said) for key, said in zip(right, found, strict=True)]
        recall, precision = (_ratio([row[side] for row in rows]) for side in (0, 1))
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        scores |= {f"{name}_precision": precision, f"{name}_recall": recall, f"{name}_f1": f1}
    return scores | {"conll_f1": float(np.mean([scores[f"{name}_f1"] for name in _MEASURES]))}


def muc(key: Clusters, said: Clusters) -> tuple[Share, Share]:
    """Of recall and of precision."""
    return _links(key, said), _links(said, key)


def b_cubed(key: Clusters, said: Clusters) -> tuple[Share, Share]:
    """Of recall and of precision."""
    return _mentions(key, said), _mentions(said, key)


def ceaf_e(key: Clusters, said: Clusters) -> tuple[Share, Share]:
    """Of recall and of precision."""
    likeness = np.zeros((len(key), len(said)))
    for row, one in enumerate(key):
        for column, other in enumerate(said):
            likeness[row, column] = 2 * len(set(one) & set(other)) / (len(one) + len(other))
    best = float(likeness[linear_sum_assignment(likeness, maximize=True)].sum())
    return (best, float(len(key))), (best, float(len(said)))


def _links(clusters: Clusters, others: Clusters) -> Share:
    of = _cluster_of(others)
    kept = 0
    for cluster in clusters:
        places = [of.get(mention) for mention in cluster]
        kept += len(cluster) - len(set(places) - {None}) - places.count(None)
    return float(kept), float(sum(len(cluster) - 1 for cluster in clusters))


def _mentions(clusters: Clusters, others: Clusters) -> Share:
    of = _cluster_of(others)
    kept = 0.0
    for cluster in clusters:
        shared = collections.Counter(of[mention] for mention in cluster if mention in of)
        kept += sum(count * count for count in shared.values()) / len(cluster)
    return kept, float(sum(map(len, clusters)))


def _cluster_of(clusters: Clusters) -> dict[Mention, int]:
    return {mention: place for place, cluster in enumerate(clusters) for mention in cluster}


def _ratio(shares: Sequence[Share]) -> float:
    whole = sum(of for _, of in shares)
    return float(sum(part for part, _ in shares) / whole) if whole else 0.0


_MEASURES: Mapping[str, Callable[[Clusters, Clusters], tuple[Share, Share]]] = MappingProxyType(
    {"muc": muc, "b_cubed": b_cubed, "ceaf_e": ceaf_e}
)
