"""Reads the metrics of each step one step late, so that the device always has the next step before it is asked."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from efficient_attn.training.integrity import paths
from efficient_attn.training.metrics import Sink
from efficient_attn.training.objective import Mean
from efficient_attn.training.step import CLEAN, StepOptions
from efficient_attn.training.stopping import NonFinite

PyTree = Any


class Report:
    """Takes the metrics of every step, writes some of them, and raises NonFinite at the first bad one."""

    def __init__(self, sinks: list[Sink], *, every: int, options: StepOptions, params: PyTree, tokens: str | None):
        self._sinks, self._every, self._options, self._tokens = sinks, every, options, tokens
        self._paths = paths(params)
        self._waiting: tuple[int, Any] | None = None
        self._steps, self._counted, self._since = 0, 0.0, time.perf_counter()

    def push(self, step: int, metrics: PyTree) -> None:
        """Takes the metrics of ``step``, still on the device, and looks at those of the step before.

        Raises:
          NonFinite: if the step before had a loss or a gradient that was not finite, and the options say stop.
        """
        before, self._waiting = self._waiting, (step, metrics)
        if before is not None:
            self._look(*before)

    def flush(self) -> None:
        """Looks at the metrics of the last step now."""
        before, self._waiting = self._waiting, None
        if before is not None:
            self._look(*before)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes ``values`` to every sink."""
        for sink in self._sinks:
            sink.write(step, values)

    def restart_clock(self) -> None:
        """Leaves what happened since the last step (an evaluation, a save) out of the speed."""
        self._steps, self._counted, self._since = 0, 0.0, time.perf_counter()

    def _look(self, step: int, metrics: PyTree) -> None:
        metrics = jax.device_get(metrics)
        terms = metrics["terms"]
        bad = int(metrics["nonfinite"]) != CLEAN
        if bad and self._is_fatal(metrics):
            raise NonFinite(self._explain(step, metrics))
        name = next(iter(terms)) if self._tokens is None and len(terms) == 1 else self._tokens
        self._steps += 1
        self._counted += float(terms[name].count) if name else 0.0
        if bad or step % self._every == 0:
            self.write(step, _values(metrics, name) | self._speed(name))
            self.restart_clock()

    def _speed(self, name: str | None) -> dict[str, float]:
        if not self._steps:
            return {}
        seconds = max(time.perf_counter() - self._since, 1e-9)
        speed = {"seconds_per_step": seconds / self._steps}
        return speed | ({"tokens_per_second": self._counted / seconds} if name else {})

    def _is_fatal(self, metrics: PyTree) -> bool:
        scaling = self._options.loss_scale
        searching = scaling is not None and metrics["loss_scale"] > scaling.floor
        return self._options.on_nonfinite == "stop" and not searching

    def _explain(self, step: int, metrics: PyTree) -> str:
        index, loss = int(metrics["nonfinite"]), float(metrics["loss"])
        where = f"the gradient of {self._paths[index]}" if index < len(self._paths) else "the loss"
        return f"step {step}: {where} is not finite (loss {loss:.6g}); the update was not applied"


def _values(metrics: PyTree, tokens: str | None) -> dict[str, float]:
    """Returns one flat record of host numbers."""
    means = dict(_means(metrics["terms"]))
    values = {name: float(metrics[name]) for name in ("loss", "grad_norm", "learning_rate")}
    if "loss_scale" in metrics:
        values["loss_scale"] = float(metrics["loss_scale"])
    if tokens:
        values |= {"tokens": float(metrics["terms"][tokens].count), "bits": means[tokens] / math.log(2)}
    if int(metrics["nonfinite"]) != CLEAN:
        values["nonfinite"] = float(metrics["nonfinite"])
    return values | {f"term/{name}": value for name, value in means.items()}


def _means(terms: Mapping[str, Mean]) -> Iterator[tuple[str, float]]:
    """Each term's mean; of a term of many numbers one each, by their places."""
    for name, term in terms.items():
        mean = np.divide(term.sum, term.count, out=np.zeros(np.shape(term.sum)), where=np.asarray(term.count) > 0)
        yield from ((name, float(mean)),) if mean.ndim == 0 else ((f"{name}/{n}", float(x)) for n, x in enumerate(mean))
