"""Published figures of MPNet (table T7).

References:
  Song, Tan, Qin, Lu, Liu, "MPNet: Masked and Permuted Pre-training for Language Understanding", 2020.
"""

from efficient_attn.results.record import Measured, Row, Table, published, rows

_FACTORS = ("factorisation",)
_ORDER = ("n", "order z", "c", "not predicted", "predicted")
_TASKS = ("MNLI", "QNLI", "QQP", "RTE", "SST", "MRPC", "CoLA", "STS", "avg")

FACTORISATION = Table(
    key="T7a",
    system="MPNet",
    title='"the task is sentence classification", predicting "sentence" and "classification"',
    columns=_FACTORS,
    rows=tuple(
        Row(
            label=label,
            published={"factorisation": text},
            status="measured",
            measured=Measured(
                values={"": "the same, as `tests/ops/test_two_stream.py` reads it"},
                data="the masks of `ops.two_stream`",
            ),
        )
        for label, text in [
            ("MLM", "P(sentence given the task is [M] [M]) P(classification given the task is [M] [M])"),
            ("PLM", "P(sentence given the task is) P(classification given the task is sentence)"),
            ("MPNet", "P(sentence given the task is [M] [M]) P(classification given the task is sentence [M])"),
        ]
    ),
)

MASKS = Table(
    key="T7b",
    system="MPNet",
    title="The figure of the masks",
    columns=_ORDER,
    rows=(
        Row(
            label="content and query masks",
            published=published(_ORDER, ("6", "(1, 3, 5, 4, 6, 2)", "3", "x1 x3 x5", "x4 x6 x2")),
            status="measured",
            measured=Measured(
                values={"": "the same, drawn by `make figures` in [mpnet.svg](figures/mpnet.svg)"},
                data="the masks of `ops.two_stream`",
            ),
        ),
    ),
)


def _here(*figures: str) -> Row:
    """The row of MPNet, whose configuration is that of the first task; others are its variants."""
    return Row(
        label="MPNet",
        published=published(_TASKS, figures),
        status="not run",
        config="configs/glue.py",
        split="validation",
    )


DEV = Table(
    key="T7c",
    system="MPNet",
    title="GLUE dev, single model",
    columns=_TASKS,
    rows=(
        *rows(
            _TASKS,
            [
                ("BERT", "84.5", "91.7", "91.3", "68.6", "93.2", "87.3", "58.9", "89.5", "83.1"),
                ("XLNet", "86.8", "91.7", "91.4", "74.0", "94.7", "88.2", "60.2", "89.5", "84.5"),
                ("RoBERTa", "87.6", "92.8", "91.9", "78.7", "94.8", "90.2", "63.6", "91.2", "86.4"),
            ],
            "quoted only",
        ),
        _here("88.5", "93.3", "91.9", "85.2", "95.4", "91.5", "65.0", "90.9", "87.7"),
    ),
    note="That is MNLI; its variants `:qnli`, `:qqp` and so on are the other tasks, `:roberta_mnli` and `:bert_mnli` those of "
    "RoBERTa and BERT. RTE, MRPC and STS-B begin where MNLI ended.",
)

TEST = Table(
    key="T7d",
    system="MPNet",
    title="GLUE test",
    columns=_TASKS,
    rows=(
        *rows(
            _TASKS,
            [
                ("BERT", "84.6", "90.5", "89.2", "66.4", "93.5", "84.8", "52.1", "87.1", "79.9"),
                ("ELECTRA", "88.5", "93.1", "89.5", "75.2", "96.0", "88.1", "64.6", "91.0", "85.8"),
            ],
            "quoted only",
        ),
        _here("88.5", "93.0", "89.6", "80.5", "95.6", "88.2", "64.0", "90.7", "86.3"),
    ),
    note="Scored by the benchmark's server: `eval.py ... --split test --predictions FILE` writes what it takes.",
)

TABLES = (FACTORISATION, MASKS, DEV, TEST)
