"""Published figures of the Reformer.

References:
  Kitaev, Kaiser, Levskaya, "Reformer: The Efficient Transformer", 2020.
"""

from efficient_attn.results.record import Table, rows

_COPY = ("full", "LSH-8", "LSH-4", "LSH-2", "LSH-1")
_BLEU = ("BLEU", "sacreBLEU uncased", "sacreBLEU cased")

ENWIK8 = Table(
    key="R1",
    system="Reformer",
    title="enwik8 test",
    columns=("bits/dim",),
    rows=rows(("bits/dim",), [("12 layers, 20k steps", "1.19"), ("12 layers, longer and tuned", "1.05")]),
)

COPY = Table(
    key="R2",
    system="Reformer",
    title="Copy task 0w0w of length 1,024: accuracy in percent, trained (rows) and evaluated (columns)",
    columns=_COPY,
    rows=rows(
        _COPY,
        [
            ("full", "100", "94.8", "92.5", "76.9", "52.5"),
            ("LSH-4", "0.8", "100", "99.9", "99.4", "91.9"),
            ("LSH-2", "0.8", "100", "99.9", "98.1", "86.8"),
            ("LSH-1", "0.8", "99.9", "99.6", "94.8", "77.9"),
        ],
    ),
)

TRANSLATION = Table(
    key="R3",
    system="Reformer",
    title="WMT'14 En-De, reversible layers",
    columns=_BLEU,
    rows=rows(
        _BLEU,
        [
            ("base, 100k steps", "27.6", "27.4", "26.9"),
            ("base, 500k steps", "28.0", "27.9", "27.4"),
            ("big, 300k steps", "29.1", "28.9", "28.4"),
        ],
    ),
)

ABLATIONS = Table(
    key="R4",
    system="Reformer",
    title="Ablations on ImageNet-64 and enwik8-64K, 3 layers (published as curves)",
    columns=("finding",),
    rows=rows(
        ("finding",),
        [
            ("shared query and key", "curves only"),
            ("reversible layers", "curves only"),
            ("8 rounds of hashing", "about full attention"),
        ],
    ),
)

TABLES = (ENWIK8, COPY, TRANSLATION, ABLATIONS)
