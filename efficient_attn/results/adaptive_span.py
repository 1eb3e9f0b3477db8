"""Published figures of Adaptive Attention Span.

References:
  Sukhbaatar, Grave, Bojanowski, Joulin, "Adaptive Attention Span in Transformers", 2019.
"""

from efficient_attn.results.record import Row, Table, published, rows

_COLUMNS = ("params", "average span", "FLOPs per token", "dev", "test")
_SHORT = "--model.attention.limit 1024 --model.attention.coefficient 2e-6"
_DYNAMIC = "--model.attention.spans tokens"


def _model(label: str, data: str, layers: int, *figures: str, flags: str = "", variant: str = "") -> Row:
    return Row(
        label=label,
        published=published(_COLUMNS, figures),
        status="not run",
        config=f"configs/adaptive_span_{data}_{layers}.py",
        flags=flags,
        variant=variant,
    )


TEXT8 = Table(
    key="A1",
    system="Adaptive Attention Span",
    title="text8 (BPC)",
    columns=_COLUMNS,
    rows=(
        *rows(
            _COLUMNS,
            [
                ("T12", "44M", "", "22G", "", "1.18"),
                ("T64", "235M", "", "120G", "", ""),
                ("Transformer-XL 24 layers", "277M", "", "438M", "", "1.08"),
            ],
            "quoted only",
        ),
        _model("adaptive, small", "text8", 12, "38M", "314", "42M", "1.05", "1.11"),
        _model("adaptive, large", "text8", 24, "209M", "245", "179M", "1.01", "1.07"),
        _model("adaptive, S=1024", "text8", 12, "", "123", "", "1.08", "", flags=_SHORT, variant="short"),
        _model(
            "dynamic, S=1024",
            "text8",
            12,
            "",
            "149",
            "",
            "1.08",
            "",
            flags=f"{_SHORT} {_DYNAMIC}",
            variant="short_dynamic",
        ),
    ),
)

ENWIK8 = Table(
    key="A2",
    system="Adaptive Attention Span",
    title="enwik8 (BPC)",
    columns=_COLUMNS,
    rows=(
        *rows(
            _COLUMNS,
            [
                ("T12", "44M", "", "22G", "", "1.11"),
                ("Transformer-XL 12 layers", "41M", "", "64M", "", "1.06"),
                ("Transformer-XL 18 layers", "88M", "", "329M", "", "1.03"),
                ("Transformer-XL 24 layers", "277M", "", "438M", "", "0.99"),
            ],
            "quoted only",
        ),
        _model("adaptive, small", "enwik8", 12, "39M", "", "", "1.04", "1.02"),
        _model("adaptive, large", "enwik8", 24, "209M", "", "", "1.00", "0.98"),
    ),
)

TABLES = (TEXT8, ENWIK8)
