"""Published figures of the Sandwich Transformer (table T6, and the rows of its other experiments).

References:
  Press, Smith, Levy, "Improving Transformer Models by Reordering their Sublayers", 2020.
"""

from efficient_attn.results.record import Row, Table, published

_ORDERS = (
    "20.74 20.64 20.33 20.27 19.98 19.92 19.69 19.54 19.13* 19.08 18.90 18.83* 18.83 18.77 18.68 18.64 18.61 18.60 "
    "18.55 18.54* 18.49* 18.38 18.28 18.25* 18.19"
)
_EQUAL_PARAMETERS = (
    "22.80 21.02 20.98 20.75 20.43 20.28 20.02 19.93 19.85 19.82 19.77 19.55 19.49 19.47 19.25 19.13* 18.86 18.83* "
    "18.62 18.54* 18.49* 18.34 18.31 18.25* 18.12"
)
_NOTE = (
    "Sorted; five seeds of the interleaved baseline stand among the 20 random orders. Small models of such orders, "
    "`configs/small_sandwich.py`, are in [measurements](measurements.md#sandwiches-and-random-orders-at-equal-steps)."
)


_WORDS = "configs/sandwich_wikitext103.py"


def _ranked(perplexities: str, kind: str) -> tuple[Row, ...]:
    """One row per perplexity, worst first; a star marks a seed of the baseline. Which of our draws stands where is not known."""
    baselines, draws = iter(range(5)), iter(range(20))

    def row(rank: int, figure: str) -> Row:
        published = {"order": "random", "PPL": figure.rstrip("*")}
        if not figure.endswith("*"):
            own = f"{_WORDS}:{kind}{next(draws)}"
            return Row(label=f"{rank}", published=published, status="not run", config=own, split="validation")
        seed = next(baselines)
        given = {"flags": f"--seed {seed}", "variant": f"seed{seed}", "split": "validation"}
        published["order"] = "interleaved baseline"
        return Row(label=f"{rank}", published=published, status="not run", config=f"{_WORDS}:k0", **given)

    return tuple(row(*ranked) for ranked in enumerate(perplexities.split(), start=1))


ORDERS = Table(
    key="T6a",
    system="Sandwich Transformer",
    title="WikiText-103 dev, random orders of 16 attention and 16 feed-forward sublayers",
    columns=("order", "PPL"),
    rows=_ranked(_ORDERS, "balanced"),
    note=_NOTE,
)

EQUAL_PARAMETERS = Table(
    key="T6b",
    system="Sandwich Transformer",
    title="WikiText-103 dev, random orders with the same number of parameters",
    columns=("order", "PPL"),
    rows=_ranked(_EQUAL_PARAMETERS, "matched"),
    note=_NOTE,
)

_ELSEWHERE = ("metric", "baseline", "sandwich")
_BYTES, _PAIRS = "configs/sandwich_enwik8.py", "configs/sandwich_wmt14.py"

ELSEWHERE = Table(
    key="T6c",
    system="Sandwich Transformer",
    title="Sandwiches on other data",
    columns=_ELSEWHERE,
    rows=(
        Row(
            label="WikiText-103 test, k=6",
            published=published(_ELSEWHERE, ("PPL", "18.63 +- 0.26", "17.96")),
            status="not run",
            config=_WORDS,
        ),
        Row(
            label="Toronto Books, k=7",
            published=published(_ELSEWHERE, ("PPL", "11.89 +- 0.35", "10.83")),
            status="not run",
            lacks="a corpus that is not published",
        ),
        *(
            Row(label=label, published=published(_ELSEWHERE, figures), status="not run", config=config)
            for config, label, *figures in [
                ("configs/sandwich_text8.py", "text8, k=3", "BPC", "1.0802 +- 0.0103", "1.076"),
                (_BYTES, "enwik8, k=5", "BPC", "about 0.975", "0.968"),
                (_PAIRS, "WMT'14 En-De, encoder", "BLEU", "28.74", "no gain"),
                (f"{_PAIRS}:decoder_k3", "WMT'14 En-De, decoder", "BLEU", "28.74", "no gain"),
            ]
        ),
    ),
)

TABLES = (ORDERS, EQUAL_PARAMETERS, ELSEWHERE)
