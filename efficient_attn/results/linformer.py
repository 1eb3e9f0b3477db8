"""Published figures of the Linformer (table T5).

References:
  Wang, Li, Khabsa, Fang, Ma, "Linformer: Self-Attention with Linear Complexity", 2020.
"""

from efficient_attn.results.record import Measured, Row, Table, published, rows

_COMPLEXITY = ("per layer", "sequential operations")
_TASKS = ("n", "sharing", "SST-2", "IMDB", "QNLI", "QQP", "average")
_RANKS = ("k=128", "k=256", "k=512", "k=1024", "k=2048")


def _grown(label: str, per_layer: str, sequential: str, power: str, chain: str) -> Row:
    return Row(
        label=label,
        published=published(_COMPLEXITY, (per_layer, sequential)),
        status="measured",
        measured=Measured(
            values={"": f"products as n^{power}, longest chain {chain}"},
            data="traced layers of 65,536 to 1,048,576 tokens",
        ),
    )


COMPLEXITY = Table(
    key="T5a",
    system="Linformer",
    title="Complexity",
    columns=_COMPLEXITY,
    rows=(
        _grown("recurrent", "O(n)", "O(n)", "1.00", "9 n"),
        _grown("Transformer", "O(n^2)", "O(1)", "2.00", "constant"),
        _grown("Sparse Transformer", "O(n sqrt n)", "O(1)", "1.36 (fixed) and n^1.38 (strided)", "constant"),
        _grown("Reformer", "O(n log n)", "O(log n)", "1.09", "one step more for each doubling"),
        _grown("Linformer", "O(n)", "O(1)", "1.00", "constant"),
    ),
    note="Printed by `python -m efficient_attn bench mechanisms`; nBRC stands for recurrence. A loop over blocks is one turn.",
)

TASKS = Table(
    key="T5b",
    system="Linformer",
    title="Fine-tuned, dev",
    columns=_TASKS,
    rows=rows(
        _TASKS,
        [
            ("RoBERTa-base (same recipe)", "512", "", "93.1", "94.1", "90.9", "90.9", "92.25"),
            ("BERT-base", "512", "", "92.7", "93.5", "91.8", "89.6", "91.90"),
            ("DistilBERT", "512", "", "91.3", "92.8", "89.2", "88.5", "90.45"),
        ],
        "quoted only",
    )
    + tuple(
        Row(
            label=label,
            published=published(_TASKS, figures),
            status="not run",
            config="configs/linformer_glue.py" + (f":{name}_sst2" if name else ""),
            split="validation",
        )
        for name, label, *figures in [
            ("n512_k128", "k=128", "512", "headwise", "92.4", "94.0", "90.4", "90.2", "91.75"),
            ("n512_k128_key_value", "k=128", "512", "kv", "93.4", "93.4", "90.3", "90.3", "91.85"),
            ("n512_k128_layerwise", "k=128", "512", "kv, layer", "93.2", "93.8", "90.1", "90.2", "91.83"),
            ("n512_k256", "k=256", "512", "headwise", "93.2", "94.0", "90.6", "90.5", "92.08"),
            ("n512_k256_key_value", "k=256", "512", "kv", "93.3", "93.6", "90.6", "90.6", "92.03"),
            ("", "k=256", "512", "kv, layer", "93.1", "94.1", "91.2", "90.8", "92.30"),
            ("n1024_k256", "k=256", "1024", "headwise", "93.0", "93.8", "90.4", "90.4", "91.90"),
            ("n1024_k256_key_value", "k=256", "1024", "kv", "93.0", "93.6", "90.3", "90.4", "91.83"),
            ("n1024_k256_layerwise", "k=256", "1024", "kv, layer", "93.2", "94.2", "90.8", "90.5", "92.18"),
        ]
    ),
    note="Each is first trained by the variant of `configs/linformer_roberta.py` of the same name, where `:dense` is "
    "RoBERTa-base. The commands are those of SST-2; in place of `sst2` the variants have `imdb`, `qnli` and `qqp`, and "
    "`configs/linformer_glue.py` itself `:imdb`, `:qnli` and `:qqp`.",
)


def _saved(label: str, figures: tuple[str, ...], times: tuple[str, ...]) -> Row:
    return Row(
        label=label,
        published=published(_RANKS, figures),
        status="measured",
        measured=Measured(
            values={"": f"time saved {', '.join(times)}"},
            data="2 CPU cores, two layers of width 512, over softmax attention",
        ),
        command="python -m efficient_attn bench linformer --longest 8192",
    )


SAVINGS = Table(
    key="T5c",
    system="Linformer",
    title="Time saved / memory saved over the Transformer at inference",
    columns=_RANKS,
    rows=(
        _saved("n=512", ("1.5 / 1.7", "1.3 / 1.5", "", "", ""), ("1.7", "1.5")),
        _saved("n=1024", ("1.7 / 3.0", "1.6 / 2.9", "1.3 / 1.8", "", ""), ("2.2", "1.9", "1.4")),
        _saved("n=2048", ("2.6 / 6.1", "2.4 / 5.6", "2.1 / 3.6", "1.3 / 2.0", ""), ("3.6", "3.1", "2.5", "2.1")),
        _saved(
            "n=4096",
            ("3.4 / 14", "3.2 / 13", "2.8 / 8.3", "2.2 / 4.3", "1.3 / 2.3"),
            ("4.9", "4.1", "3.7", "2.5", "1.8"),
        ),
        _saved(
            "n=8192",
            ("5.5 / 28", "5.0 / 26", "4.4 / 17", "3.5 / 8.5", "2.1 / 4.5"),
            ("8.9", "8.0", "7.0", "5.9", "3.4"),
        ),
        *(
            Row(
                label=label,
                published=published(_RANKS, figures),
                status="not run",
                command="python -m efficient_attn bench linformer",
            )
            for label, *figures in [
                ("n=16384", "8.6 / 56", "7.8 / 48", "7.0 / 32", "5.6 / 16", "3.3 / 8"),
                ("n=32768", "13 / 56", "12 / 48", "11 / 36", "8.8 / 18", "5.0 / 16"),
                ("n=65536", "20 / 60", "18 / 52", "16 / 40", "14 / 20", "7.9 / 18"),
            ]
        ),
    ),
    note="A forward pass on random inputs, layerwise sharing. Memory saved is the ratio of the largest batches that "
    "fit in 16 GB, so it flattens where the Transformer's is one. "
    "Ours are in the order of the columns; memory, and time over a fused kernel, are in [measurements](measurements.md#linformer).",
)

TABLES = (COMPLEXITY, TASKS, SAVINGS)
