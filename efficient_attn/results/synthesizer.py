"""Published figures of the Synthesizer (tables T1, T2).

References:
  Tay, Bahri, Metzler, Juan, Zhao, Zheng, "Synthesizer: Rethinking Self-Attention in Transformer Models", 2020.
"""

from efficient_attn.results.record import Row, Table, published, rows

_NMT, _LM = "NMT params", ("LM params", "LM1B PPL")
_GLUE = ("avg", "CoLA", "SST", "MRPC", "STSB", "QQP", "MNLI", "QNLI", "RTE")
_SUPERGLUE = ("avg", "BoolQ", "CB", "CoPA", "MultiRC", "ReCoRD", "RTE", "WiC", "WSC")


# Scores, parameters and BLEU of the translation models, and parameters and perplexity of the language models.
_ROWS = {
    "Transformer (their run)": ("dot_product", "68M", "27.67", "41.57", "70M", "38.21"),
    "Transformer (control)": ("control", "73M", "27.97", "41.83", "", ""),
    "Synthesizer fixed random": ("fixed_random", "61M", "23.89", "38.31", "53M", "50.52"),
    "random": ("random", "67M", "27.27", "41.12", "58M", "40.60"),
    "factorized random": ("factorized_random", "61M", "27.30", "41.12", "53M", "42.40"),
    "dense": ("dense", "62M", "27.43", "41.39", "53M", "40.88"),
    "factorized dense": ("factorized_dense", "61M", "27.32", "41.57", "53M", "41.20"),
    "random + dense": ("random dense", "67M", "27.68", "41.21", "58M", "42.35"),
    "dense + vanilla": ("dense dot_product", "74M", "27.57", "41.38", "70M", "37.27"),
    "random + vanilla": ("random dot_product", "73M", "28.47", "41.85", "70M", "40.05"),
}


def _translation(key: str, language: str, metric: str, quoted: str, place: int, prefix: str) -> Table:
    """One language's column; the configuration's own variant of each row begins with ``prefix``."""

    def row(label: str) -> Row:
        scores, params, *figures = _ROWS[label]
        name = scores.replace("dot_product", "vanilla").replace(" ", "_")
        choice = prefix + ("transformer" if name == "vanilla" else name)
        return Row(
            label=label,
            published={_NMT: params, metric: figures[place]},
            status="not run",
            # That is the CONFIG of its file.
            config="configs/synthesizer_wmt14.py" + ("" if choice == "transformer" else f":{choice}"),
        )

    columns = (_NMT, metric)
    return Table(
        key=key,
        system="Synthesizer",
        title=f"Translation, WMT'14 English to {language}",
        columns=columns,
        rows=(
            *rows(columns, [("Transformer (Vaswani 2017)", "68M", quoted)], "quoted only"),
            *map(row, _ROWS),
        ),
        note="BLEU in percent. The column of parameters is inconsistent in itself. Pieces are made first: "
        "`python -m efficient_attn tokenizer CONFIG`. All rows at a small size: "
        "[measurements](measurements.md#a-small-transformer-that-translates).",
    )


def _language_model(label: str) -> Row:
    scores, _, _, _, *figures = _ROWS[label]
    return Row(
        label=label,
        published=published(_LM, figures),
        status="not run",
        config="configs/synthesizer_lm1b.py",
        flags=f"--model.attention.scores {scores}",
        variant=scores.replace(" ", "_"),
    )


GERMAN = _translation("T1a", "German", "EnDe BLEU", "27.30", 0, "")
FRENCH = _translation("T1b", "French", "EnFr BLEU", "38.10", 1, "enfr_")

LANGUAGE_MODELS = Table(
    key="T1c",
    system="Synthesizer",
    title="Language modelling (LM One Billion)",
    columns=_LM,
    rows=tuple(_language_model(label) for label, row in _ROWS.items() if row[-1]),
    note="Perplexity per word. The column of parameters is inconsistent in itself.",
)

# The variant of the configuration that each row is, the CONFIG itself for the first.
_MIXED = {"T5 (base)": "", "R": ":random", "D": ":dense", "D+V": ":dense_vanilla", "R+V": ":random_vanilla"}


def _mixed(columns: tuple[str, ...], lines: list[tuple[str, ...]]) -> tuple[Row, ...]:
    """Rows of one benchmark, whose tasks are learned together with those of the other."""
    return tuple(
        Row(
            label=label,
            published=published(columns, figures),
            status="not run",
            config=f"configs/en_mix.py{_MIXED[label]}",
            split="validation",
        )
        for label, *figures in lines
    )


_PRETRAINED = (
    "The rows begin from models that were pre-trained on C4: `configs/t5_small.py` and its variants of the same names, and then "
    "`--start runs/t5_small` and so on. Pieces are made first: `python -m efficient_attn tokenizer configs/t5_small.py`."
)

GLUE = Table(
    key="T2a",
    system="Synthesizer",
    title="GLUE, in T5 small",
    columns=_GLUE,
    rows=_mixed(
        _GLUE,
        [
            ("T5 (base)", "83.5", "53.1", "92.2", "92.0/88.7", "89.1/88.9", "88.2/91.2", "84.7/85.0", "91.7", "76.9"),
            ("R", "75.1", "41.2", "91.2", "85.9/79.4", "74.0/74.3", "85.5/89.0", "77.6/78.1", "87.6", "59.2"),
            ("D", "72.0", "18.9", "89.9", "86.4/79.4", "75.3/75.5", "85.2/88.3", "77.4/78.1", "86.9", "57.4"),
            ("D+V", "82.6", "48.6", "92.4", "91.2/87.7", "88.9/89.0", "88.6/91.5", "84.3/84.8", "91.7", "75.1"),
            ("R+V", "84.1", "53.3", "92.2", "91.2/87.7", "89.3/88.9", "88.6/91.4", "85.0/84.6", "92.3", "81.2"),
        ],
    ),
    note="Dev scores in percent. Pairs: F1/accuracy (MRPC, QQP), Pearson/Spearman (STSB), matched/mismatched (MNLI). "
    + _PRETRAINED,
)

SUPERGLUE = Table(
    key="T2b",
    system="Synthesizer",
    title="SuperGLUE, in T5 small",
    columns=_SUPERGLUE,
    rows=_mixed(
        _SUPERGLUE,
        [
            ("T5 (base)", "70.3", "78.2", "72.1/83.9", "59.0", "73.1/32.1", "71.1/70.3", "77.3", "65.8", "80.8"),
            ("R", "61.1", "69.5", "54.6/73.2", "60.0", "63.0/15.7", "58.4/57.4", "67.5", "64.4", "66.3"),
            ("D", "58.5", "69.5", "51.7/71.4", "51.0", "66.0/15.8", "54.1/53.0", "67.5", "65.2", "58.7"),
            ("D+V", "69.7", "79.3", "74.3/85.7", "64.0", "73.8/33.7", "69.9/69.2", "78.7", "64.3", "68.3"),
            ("R+V", "72.2", "79.3", "82.7/91.1", "64.0", "74.3/34.9", "70.8/69.9", "82.7", "64.6", "75.0"),
        ],
    ),
    note="Dev scores in percent. Pairs: F1/accuracy (CB), F1a/EM (MultiRC), F1/EM (ReCoRD). " + _PRETRAINED,
)

TABLES = (GERMAN, FRENCH, LANGUAGE_MODELS, GLUE, SUPERGLUE)
