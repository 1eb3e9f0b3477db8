"""Loss curves of runs as pictures."""

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any


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
    figure, axes = figure_of("step", "loss [nats]")
    rows = logged(workdir)
    for name in ("loss", "eval/loss"):
        points = _points(rows, name)
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if name != "loss" else None, markersize=3)
    axes.legend()
    path = Path(workdir) / "loss.png"
    figure.savefig(path, dpi=120)
    return path


def check_picture(path: Path | None) -> None:
    """A ValueError if a picture is to go to a file that is neither a PNG nor an SVG."""
    if path is not None and path.suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"a picture is a .png or .svg, got {path}")


def draw_curves(workdirs: Sequence[Path], path: Path, *, smooth: int = 5) -> None:
    """Draws the training losses of several runs into one picture.

    Args:
      workdirs: directories of runs, named by their last parts in the legend.
      path: the PNG to write.
      smooth: logged losses that are averaged to a point.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
      ValueError: if nothing was logged in one of them.
    """
    figure, axes = figure_of("step", "loss [nats]")
    for n, workdir in enumerate(workdirs):
        points = _points(logged(workdir), "loss")
        count = min(smooth, len(points))
        means = [
            (points[i + count - 1][0], statistics.fmean(y for _, y in points[i : i + count]))
            for i in range(len(points) - count + 1)
        ]
        # Ten colours repeat, so the runs after them are dashed.
        axes.plot(*zip(*means, strict=True), label=workdir.name, linewidth=1, linestyle="-" if n < 10 else "--")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)


def logged(workdir: Path) -> list[dict[str, Any]]:
    """What a run has logged, in order.

    Raises:
      ValueError: if nothing was logged.
    """
    source = Path(workdir) / "metrics.jsonl"
    rows = [json.loads(line) for line in source.read_text().splitlines()] if source.exists() else []
    if not rows:
        raise ValueError(f"{source} holds no metrics to draw")
    return rows


def _points(rows: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in rows if row.get(name) is not None]


def figure_of(horizontal: str, vertical: str) -> tuple[Any, Any]:
    """An empty picture and its axes, whose names are given.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
    """
    figure = empty_figure(7.0, 4.0)
    axes = figure.subplots()
    axes.set(xlabel=horizontal, ylabel=vertical)
    axes.grid(alpha=0.3)
    return figure, axes


def empty_figure(width: float, height: float) -> Any:
    """An empty picture of so many inches.

    Raises:
      ModuleNotFoundError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("a picture needs matplotlib: install efficient-attn[plots]") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
