"""Published figures of the Transformer for translation.

References:
  Vaswani et al., "Attention Is All You Need", 2017, table 2.
"""

from efficient_attn.results.record import Row, Table, published

_GERMAN, _FRENCH = ("params", "EnDe BLEU"), ("EnFr BLEU",)
_NOTE = (
    "Tokenised BLEU{}, of averaged checkpoints; `eval.py` prints that of sacreBLEU, which is lower. Pieces are made first: "
    "`python -m efficient_attn tokenizer CONFIG`."
)


def _rows(config: str, columns: tuple[str, ...], base: tuple[str, ...], big: tuple[str, ...]) -> tuple[Row, ...]:
    return tuple(
        Row(label=label, published=published(columns, figures), status="not run", config=config + choice)
        for label, choice, figures in (("base", "", base), ("big", ":big", big))
    )


GERMAN = Table(
    key="V1a",
    system="Transformer",
    title="WMT'14 translation, English to German",
    columns=_GERMAN,
    rows=_rows("configs/transformer_wmt14_ende.py", _GERMAN, ("65M", "27.3"), ("213M", "28.4")),
    note=_NOTE.format(" with compounds split"),
)

FRENCH = Table(
    key="V1b",
    system="Transformer",
    title="WMT'14 translation, English to French",
    columns=_FRENCH,
    rows=_rows("configs/transformer_wmt14_enfr.py", _FRENCH, ("38.1",), ("41.8",)),
    note=_NOTE.format(""),
)

TABLES = (GERMAN, FRENCH)
