"""Published outcomes of the bistable recurrent cells.

References:
  Vecoven, Ernst, Drion, "A bio-inspired bistable recurrent cell allows for long-lasting memory", 2021.
"""

from efficient_attn.results.record import Table, rows

_COLUMNS = ("metric", "GRU, LSTM", "BRC, nBRC")

BENCHMARKS = Table(
    key="B1",
    system="BRC and nBRC",
    title="Benchmarks of long memory",
    columns=_COLUMNS,
    rows=rows(
        _COLUMNS,
        [
            ("copy first input, T=5", "MSE", "", ""),
            ("copy first input, T=300", "MSE", "about 1.0 (chance)", "1e-3 to 1e-2"),
            ("copy first input, T=600", "MSE", "about 1.0 (chance)", "1e-3 to 1e-2"),
            ("denoising, N=0", "MSE", "", ""),
            ("denoising, N=200", "MSE", "about 1.0 (chance)", "1e-3 to 1e-2"),
            ("sequential MNIST, 0 black pixels", "accuracy", "96 to 98", "96 to 98"),
            ("sequential MNIST, 300 black pixels", "accuracy", "about 11 (chance)", "95 and more"),
            ("permuted MNIST", "accuracy", "", ""),
            ("line-by-line MNIST, 72 black lines", "accuracy", "", ""),
            ("line-by-line MNIST, 472 black lines", "accuracy", "", ""),
        ],
    ),
    note="Outcomes as ranges: figures differ between the two published versions. Blank where only a curve is known.",
)

TABLES = (BENCHMARKS,)
