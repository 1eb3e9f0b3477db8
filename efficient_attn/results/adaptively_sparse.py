"""Published figures of the Adaptively Sparse Transformer.

References:
  Correia, Niculae, Martins, "Adaptively Sparse Transformers", 2019.
"""

from efficient_attn.results.record import Row, Table, rows

_BLEU = ("De-En", "Ja-En", "Ro-En", "En-De")

TRANSLATION = Table(
    key="E1",
    system="Adaptively Sparse Transformer",
    title="Translation (BLEU)",
    columns=_BLEU,
    rows=rows(
        _BLEU,
        [
            ("softmax", "29.79", "21.57", "32.70", "26.02"),
            ("1.5-entmax", "29.83", "22.13", "33.10", "25.89"),
            ("alpha-entmax", "29.90", "21.74", "32.89", "26.93"),
        ],
    ),
    note="IWSLT'17 De-En, KFTT Ja-En, WMT'16 Ro-En, WMT'14 En-De.",
)

SPEED = Table(
    key="E2",
    system="Adaptively Sparse Transformer",
    title="Training speed, relative to softmax",
    columns=("speed",),
    rows=(
        Row(
            label="1.5-entmax",
            published={"speed": "90%"},
            status="not run",
            command="python -m efficient_attn bench mechanisms",
        ),
        Row(
            label="alpha-entmax",
            published={"speed": "75%"},
            status="not run",
            lacks="a timing of learned alphas: `bench mechanisms` has none",
        ),
    ),
    note="Of training steps of a translation model; the command times a layer beside one with softmax.",
)

TABLES = (TRANSLATION, SPEED)
