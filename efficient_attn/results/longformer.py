"""Published figures of the Longformer (tables T3, T4).

References:
  Beltagy, Peters, Cohan, "Longformer: The Long-Document Transformer", 2020.
"""

from efficient_attn.results.record import Row, Table, published, rows

_SMALL = ("params", "text8 dev", "text8 test", "enwik8 dev", "enwik8 test")
_LARGE = ("params", "BPC")
_TASKS = ("WikiHop", "TriviaQA", "HotpotQA", "OntoNotes", "IMDB", "Hyperpartisan")

# How the last phase is evaluated.
_PHASES = {"protocol": "--context 32256 --eval-scored 512 --eval-batch-size 1"}


def _of(config: str, columns: tuple[str, ...], label: str, *figures: str, protocol: str = "") -> Row:
    return Row(label=label, published=published(columns, figures), status="not run", config=config, protocol=protocol)


SMALL = Table(
    key="T3a",
    system="Longformer",
    title="Character language models, small (BPC)",
    columns=_SMALL,
    rows=(
        *rows(_SMALL, [("T12", "44M", "", "1.18", "", "1.11")], "quoted only"),
        _of("configs/adaptive_span_enwik8_12.py", _SMALL, "Adaptive span", "38M", "1.05", "1.11", "1.04", "1.02"),
        *rows(_SMALL, [("BP-Transformer", "39M (38M)", "", "1.11", "", "1.02")], "quoted only"),
        *rows(_SMALL, [("Transformer-XL", "41M", "", "", "", "1.06")], "quoted only"),
        _of("configs/reformer_enwik8.py", _SMALL, "Reformer", "", "", "", "", "1.05"),
        _of(
            "configs/longformer_enwik8.py:phase5",
            *(_SMALL, "Longformer", "41M", "1.04", "1.10", "1.02", "1.00"),
            **_PHASES,
        ),
    ),
    note="The commands are those of enwik8; `configs/adaptive_span_text8_12.py` and `configs/longformer_text8.py` are text8's. The "
    "Longformer's last phase begins from the four before it.",
)

LARGE = Table(
    key="T3b",
    system="Longformer",
    title="Character language models, large, enwik8 test",
    columns=_LARGE,
    rows=(
        *rows(_LARGE, [("Transformer-XL 18 layers", "88M", "1.03")], "quoted only"),
        Row(
            label="Sparse Transformer",
            published={"params": "about 100M", "BPC": "0.99"},
            status="not run",
            config="configs/sparse_transformer_enwik8.py",
        ),
        *rows(_LARGE, [("Transformer-XL 24 layers", "277M", "0.99")], "quoted only"),
        _of("configs/adaptive_span_enwik8_24.py", _LARGE, "Adaptive span", "209M", "0.98"),
        *rows(_LARGE, [("Compressive", "277M", "0.97")], "quoted only"),
        _of("configs/longformer_enwik8.py:large_phase5", _LARGE, "Longformer", "102M", "0.99", **_PHASES),
    ),
)

LENGTHS = Table(
    key="T4a",
    system="Longformer",
    title="Word pieces in a document",
    columns=_TASKS,
    rows=tuple(
        Row(
            label=label,
            published=published(_TASKS, figures),
            status="not run",
            config="configs/longformer_classification.py",
            split="validation",
        )
        for label, *figures in [
            ("average", "1,535", "6,589", "1,316", "506", "300", "705"),
            ("95th percentile", "3,627", "17,126", "1,889", "1,147", "705", "1,975"),
        ]
    ),
    note="`python -m efficient_attn lengths CONFIG` prints both: `configs/longformer_classification.py` is IMDB, its variant "
    "`:hyperpartisan` Hyperpartisan, `configs/longformer_qa.py` TriviaQA, `configs/longformer_wikihop.py` WikiHop, "
    "`configs/longformer_hotpot.py` HotpotQA, `configs/longformer_ontonotes.py` OntoNotes.",
)

TASKS = Table(
    key="T4b",
    system="Longformer",
    title="Fine-tuned from RoBERTa",
    columns=_TASKS,
    rows=(
        Row(
            label="RoBERTa-base",
            published=published(_TASKS, ("72.4", "74.3", "63.5", "78.4", "95.3", "87.4")),
            status="not run",
            config="configs/longformer_classification.py:roberta_imdb",
            split="validation",
        ),
        Row(
            label="Longformer-base",
            published=published(_TASKS, ("75.0", "75.2", "64.4", "78.6", "95.7", "94.8")),
            status="not run",
            config="configs/longformer_classification.py",
            split="validation",
        ),
    ),
    note="That is IMDB; `:hyperpartisan` is Hyperpartisan, `configs/longformer_qa.py` TriviaQA, "
    "`configs/longformer_wikihop.py` WikiHop, `configs/longformer_hotpot.py` HotpotQA, in two stages, and "
    "`configs/longformer_ontonotes.py` OntoNotes; variants `:roberta_imdb`, `:roberta_hyperpartisan`, `:roberta` and "
    "`:roberta_second` are RoBERTa's. "
    "Beside it the paper claims: a window of 512 costs what RoBERTa's full 512 costs; the top layers reach every "
    "input; memory is linear in the length.",
)

_SUMMARIES = ("R1", "R2", "RL")

SUMMARISATION = Table(
    key="T4c",
    system="Longformer",
    title="LED-large, arXiv summarisation",
    columns=_SUMMARIES,
    rows=rows(_SUMMARIES, [("4k", "44.40", "17.94", "39.76"), ("16k", "46.63", "19.62", "41.83")])
    + rows(_SUMMARIES, [("BigBird-Pegasus, 4k", "46.63", "19.02", "41.77")], "quoted only"),
)

TABLES = (SMALL, LARGE, LENGTHS, TASKS, SUMMARISATION)
