"""Published figures of the Adaptively Sparse Transformer.

References:
  Correia, Niculae, Martins, "Adaptively Sparse Transformers", 2019.
"""

from efficient_attn.results.record import Measured, Row, Table

_CONFIG = "configs/adaptively_sparse_translation.py"
_WEIGHTS = {"softmax": "", "1.5-entmax": "_entmax15", "alpha-entmax": "_alpha"}
_BLEU = {
    "De-En": ("29.79", "29.83", "29.90"),
    "Ja-En": ("21.57", "22.13", "21.74"),
    "Ro-En": ("32.70", "33.10", "32.89"),
    "En-De": ("26.02", "25.89", "26.93"),
}


def _row(label: str, metric: str, figure: str, variant: str) -> Row:
    # En-De with softmax is the CONFIG of its file.
    config = _CONFIG if variant == "ende" else f"{_CONFIG}:{variant}"
    return Row(label=label, published={metric: figure}, status="not run", config=config)


TRANSLATION = Table(
    key="E1",
    system="Adaptively Sparse Transformer",
    title="Translation",
    columns=("BLEU",),
    rows=tuple(
        _row(f"{pair}, {weights}", "BLEU", figure, pair.lower().replace("-", "") + suffix)
        for pair, figures in _BLEU.items()
        for (weights, suffix), figure in zip(_WEIGHTS.items(), figures, strict=True)
    ),
    note="IWSLT'17 De-En, KFTT Ja-En, WMT'16 Ro-En, WMT'14 En-De. Pieces are made first: "
    "`python -m efficient_attn tokenizer CONFIG`. Both entmaxes at a small size: "
    "[measurements](measurements.md#a-small-transformer-that-translates).",
)


def _speed(label: str, figure: str, ours: str, variant: str) -> Row:
    measured = Measured(
        values={"": ours}, data=f"a training step of configs/small_translation.py:{variant}, two CPU cores"
    )
    return Row(
        label=label,
        published={"speed": figure},
        status="measured",
        config=f"{_CONFIG}:ende_{variant}",
        measured=measured,
    )


SPEED = Table(
    key="E2",
    system="Adaptively Sparse Transformer",
    title="Training speed, relative to softmax",
    columns=("speed",),
    rows=(
        _speed("1.5-entmax", "90%", "85%", "entmax15"),
        _speed("alpha-entmax", "75%", "59%", "alpha"),
    ),
    note="Ours: `python -m efficient_attn bench steps --config configs/small_translation.py`; the published sizes are not run.",
)

TABLES = (TRANSLATION, SPEED)
