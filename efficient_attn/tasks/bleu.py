"""BLEU and chrF by sacreBLEU, with what identifies how they were computed.

References:
  Post, "A Call for Clarity in Reporting BLEU Scores", 2018.
  Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation", 2002; Popović, "chrF", 2015.
  Koehn, "Statistical Significance Tests for Machine Translation Evaluation", 2004 (bootstrap).
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any


def corpus_scores(translations: Sequence[str], references: Sequence[str], resamples: int = 1) -> dict[str, float]:
    """``bleu`` (cased, tokenised by 13a), ``bleu_intl`` (tokenised by mteval-v14's international rules) and ``chrf``, in percent.

    Args:
      translations: of a whole corpus.
      references: one for each.
      resamples: above 1, so many corpora are drawn from this one with replacement, and ``bleu_low`` and ``bleu_high``,
        ``chrf_low`` and ``chrf_high`` bound the scores of 95 % of them.
    """
    scores: dict[str, float] = {}
    for name, metric in _metrics().items():
        drawn = resamples if name != "bleu_intl" else 1
        found = metric.corpus_score(list(translations), [list(references)], n_bootstrap=drawn)
        scores[name] = float(found.score)
        if drawn > 1:
            # sacreBLEU keeps what it prints of the drawn corpora in these two alone.
            low, high = found._mean - found._ci, found._mean + found._ci
            scores |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return scores


def signatures() -> dict[str, str]:
    """What identifies the scores, as sacreBLEU writes it, by ``bleu_signature`` and so on."""
    found = {}
    for name, metric in _metrics().items():
        metric.corpus_score(["a"], [["a"]])
        found[f"{name}_signature"] = str(metric.get_signature())
    return found


def _metrics() -> dict[str, Any]:
    metrics = sacrebleu().metrics
    return {"bleu": metrics.BLEU(), "bleu_intl": metrics.BLEU(tokenize="intl"), "chrf": metrics.CHRF()}


def sacrebleu() -> ModuleType:
    """The package.

    Raises:
      ModuleNotFoundError: if it is not installed.
    """
    try:
        import sacrebleu as package
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "scoring translations needs sacrebleu: pip install 'efficient-attn[translation]'"
        ) from error
    return package
