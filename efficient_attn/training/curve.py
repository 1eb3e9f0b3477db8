"""The loss curve of a run, drawn from its ``metrics.jsonl``."""

import json
from pathlib import Path


def draw_curve(workdir: Path) -> Path:
    """Draws training loss and evaluation losses against the step.

    Args:
      workdir: the directory of a run.

    Returns:
      The path of ``loss.png`` in ``workdir``.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
      ValueError: if nothing was logged.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a loss curve needs matplotlib: install efficient-attn[plots]") from error
    source = Path(workdir) / "metrics.jsonl"
    rows = [json.loads(line) for line in source.read_text().splitlines()] if source.exists() else []
    if not rows:
        raise ValueError(f"{source} holds no metrics to draw")

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in ("loss", "eval/loss"):
        points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if name != "loss" else None, markersize=3)
    axes.set(xlabel="step", ylabel="loss [nats]")
    axes.grid(alpha=0.3)
    axes.legend()
    path = Path(workdir) / "loss.png"
    figure.savefig(path, dpi=120)
    return path
