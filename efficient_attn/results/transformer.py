"""Published figures of the Transformer for translation.

References:
  Vaswani et al., "Attention Is All You Need", 2017, table 2.
"""

from efficient_attn.results.record import Table, rows

_COLUMNS = ("params", "EnDe BLEU", "EnFr BLEU")

TRANSLATION = Table(
    key="V1",
    system="Transformer",
    title="WMT'14 translation",
    columns=_COLUMNS,
    rows=rows(_COLUMNS, [("base", "65M", "27.3", "38.1"), ("big", "213M", "28.4", "41.8")]),
    note="Tokenised BLEU with compounds split, of averaged checkpoints; the encoder-decoder has not landed yet.",
)

TABLES = (TRANSLATION,)
