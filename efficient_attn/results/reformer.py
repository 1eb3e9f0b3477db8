"""Published figures of the Reformer.

References:
  Kitaev, Kaiser, Levskaya, "Reformer: The Efficient Transformer", 2020.
"""

from efficient_attn.results.record import Measured, Row, Table, published, rows

_COPY = ("full", "LSH-8", "LSH-4", "LSH-2", "LSH-1")
_BLEU = ("BLEU", "sacreBLEU uncased", "sacreBLEU cased")


def _copied(label: str, figures: tuple[str, ...], here: tuple[str, ...]) -> Row:
    """A row of the copying task, with what the short form gave here."""
    return Row(
        label=label,
        published=published(_COPY, figures),
        status="measured",
        config="configs/reformer_copy.py",
        measured=Measured(values=published(_COPY, here), data=_SHORT),
    )


def _ablated(label: str, finding: str, flags: str, variant: str) -> Row:
    """A row of the models of three layers."""
    return Row(
        label=label,
        published={"finding": finding},
        status="not run",
        config="configs/reformer_enwik8.py",
        flags=f"--model.depth 3 {flags}",
        variant=f"3_{variant}",
    )


_SHORT = "the copying task of length 128 (words of 63) instead of 1,024, 2,000 steps, 256 words of the validation split"

ENWIK8 = Table(
    key="R1",
    system="Reformer",
    title="enwik8 test",
    columns=("bits/dim",),
    rows=tuple(
        Row(label=label, published={"bits/dim": bits}, status="not run", config="configs/reformer_enwik8.py")
        for label, bits in [("12 layers, 20k steps", "1.19"), ("12 layers, longer and tuned", "1.05")]
    ),
)

COPY = Table(
    key="R2",
    system="Reformer",
    title="Copy task 0w0w of length 1,024: accuracy in percent, trained (rows) and evaluated (columns)",
    columns=_COPY,
    rows=(
        _copied("full", ("100", "94.8", "92.5", "76.9", "52.5"), ("100", "99.96", "99.0", "89.8", "65.3")),
        _copied("LSH-4", ("0.8", "100", "99.9", "99.4", "91.9"), ("100", "100", "99.99", "98.1", "89.6")),
        _copied("LSH-2", ("0.8", "100", "99.9", "98.1", "86.8"), ("100", "100", "99.99", "99.4", "91.0")),
        _copied("LSH-1", ("0.8", "99.9", "99.6", "94.8", "77.9"), ("100", "100", "100", "99.8", "96.0")),
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
    rows=(
        Row(
            label="shared query and key",
            published={"finding": "curves only"},
            status="not run",
            lacks="dense attention whose queries are its keys",
        ),
        _ablated("reversible layers", "curves only", "--model.residual plain", "plain"),
        _ablated("8 rounds of hashing", "about full attention", "--model.attention.rounds 8", "rounds8"),
    ),
    note="The commands are those of enwik8; without its flags a row's are the ones that it is compared with.",
)

TABLES = (ENWIK8, COPY, TRANSLATION, ABLATIONS)
