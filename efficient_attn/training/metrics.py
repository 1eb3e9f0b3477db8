"""Where metrics go: a file of JSON lines, TensorBoard, and a person's terminal. Nothing goes to standard output."""

import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import jax
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from efficient_attn.files import replacing

TensorBoardChoice = Literal["auto", "on", "off"]


@runtime_checkable
class Sink(Protocol):
    """A place for metrics."""

    def write(self, step: int, values: dict[str, float]) -> None:
        """Takes the metrics of one step."""
        ...

    def close(self) -> None:
        """Flushes."""
        ...


class JsonLines:
    """``metrics.jsonl``: one object per line, appended. Lines after the restored step, or torn ones, are dropped."""

    def __init__(self, path: Path, start: int):
        if path.exists():
            kept = [line for line in path.read_text().splitlines() if _step_of(line) <= start]
            with replacing(path) as partial:
                partial.write_text("".join(line + "\n" for line in kept))
        self._file = path.open("a", buffering=1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Appends one line; a value that is not finite becomes null, which JSON has."""
        finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}) + "\n")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf


class TensorBoard:
    """Scalars for TensorBoard, by tensorboardX."""

    def __init__(self, directory: Path, start: int):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(directory), purge_step=start + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes one scalar per metric."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes."""
        self._writer.close()


class Terminal:
    """A progress bar on standard error with loss, bits, tokens per second and time left."""

    def __init__(self, steps: int, start: int):
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._task = self._bar.add_task("", total=steps, completed=start)
        self._bar.start()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=step, description=describe(values))

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()


class Lines:
    """One plain line per log on standard error, for files and pipes."""

    def __init__(self, steps: int):
        self._steps, self._width = steps, len(str(steps))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Prints one line."""
        left = values.get("seconds_per_step", math.nan) * (self._steps - step)
        eta = f"  {left:.0f}s left" if math.isfinite(left) else ""
        print(f"step {step:{self._width}d}/{self._steps}  {describe(values)}{eta}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Does nothing."""


def describe(values: dict[str, float]) -> str:
    """Returns what a person wants of ``values`` in one short line."""
    shown = {"loss": "loss {:.4f}", "bits": "{:.4f} bits", "tokens_per_second": "{:,.0f} tokens/s"}
    parts = [form.format(values[name]) for name, form in shown.items() if name in values]
    parts += [f"{name} {value:.4f}" for name, value in values.items() if name.startswith("eval/")]
    return "  ".join(parts)


def open_sinks(workdir: Path, tensorboard: TensorBoardChoice, steps: int, start: int) -> list[Sink]:
    """Returns the sinks of a run; its first process writes, the others have none.

    Args:
      workdir: the directory for files.
      tensorboard: ``auto`` writes TensorBoard files if tensorboardX is installed, ``on`` insists.
      steps: the last step.
      start: the step restored: what was written of later ones is dropped.

    Raises:
      ModuleNotFoundError: if TensorBoard was asked for by name and tensorboardX is not installed.
    """
    if jax.process_index() > 0:
        return []
    sinks: list[Any] = []
    if tensorboard != "off":
        try:
            sinks.append(TensorBoard(workdir / "tensorboard", start))
        except ModuleNotFoundError as error:
            if tensorboard == "on":
                raise ModuleNotFoundError(
                    "tensorboard='on' needs tensorboardX: install efficient-attn[tensorboard], or say 'auto' or 'off'"
                ) from error
    sinks.append(JsonLines(workdir / "metrics.jsonl", start))
    sinks.append(Terminal(steps, start) if sys.stderr.isatty() else Lines(steps))
    return sinks


@contextlib.contextmanager
def closing(sinks: list[Sink]):
    """Closes every sink at the end."""
    with contextlib.ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        yield sinks
