"""Checkpoints by Orbax (its v1 API): the only file that knows it.

A save runs behind training, into a temporary directory renamed when complete: a partial one is never seen. Orbax
returns a flipped bit without a word, hence the checksums saved beside the data.
"""

import contextlib
import dataclasses
import importlib.metadata
import logging
import os
from collections.abc import Callable
from typing import Any, Literal

import jax
from etils import epath
from orbax.checkpoint import v1 as ocp

from efficient_attn.training.integrity import check_shapes, check_sums, checksum
from efficient_attn.training.state import TrainState

PyTree = Any
VERSIONS = {name: importlib.metadata.version(name) for name in ("jax", "optax", "orbax-checkpoint")}
# A failed save is raised once, as a CheckpointError; Orbax also logs it from every thread, in hundreds of lines.
logging.getLogger("absl").addFilter(lambda r: r.levelno < logging.ERROR or "orbax" not in r.pathname)


class CheckpointError(RuntimeError):
    """A checkpoint could not be written or read; the message names the steps that can be used."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keep:
    """Which checkpoints stay: the last ones, and the best by a metric of the evaluation."""

    last: int = 3
    best: int = 0
    metric: str = "loss"
    order: Literal["min", "max"] = "min"
    """Which value of ``metric`` is best."""

    def __post_init__(self):
        if self.last < 1 or self.best < 0:
            raise ValueError(f"need last >= 1 and best >= 0; got {self}")


class Checkpoints:
    """The checkpoints of one directory, one per step; a context manager that waits for the last save."""

    def __init__(self, directory: str | os.PathLike, keep: Keep = Keep(), metadata: dict[str, Any] | None = None):
        path = epath.Path(directory)
        self.directory = path if "://" in str(directory) else path.absolute()
        self._metadata, self._keep, self._saving = {**(metadata or {}), "versions": VERSIONS}, keep, None
        policies = ocp.training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda scores: scores[keep.metric],
            reverse=keep.order == "min",
            n=keep.best,
            keep_checkpoints_without_metrics=False,
        )
        both = policies.AnyPreservationPolicy([policies.LatestN(keep.last), best])
        with self._explained("opened", None):
            self._orbax = ocp.training.Checkpointer(
                self.directory, preservation_policy=both, cleanup_tmp_directories=jax.process_index() == 0
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def steps(self) -> list[int]:
        """Returns the steps of the complete checkpoints, in order."""
        found = self.directory.iterdir() if self.directory.exists() else ()
        return sorted(int(path.name) for path in found if path.name.isdigit())

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None = None) -> None:
        """Starts to save ``state``; only its copy to the host is awaited. A failure is raised by the next call."""
        self.wait()
        items = _items(state)
        items["checksum"] = {name: checksum(tree) for name, tree in items.items()}
        self._saving = step
        ranked = metrics if metrics and self._keep.metric in metrics else None
        with self._explained("written", step):
            self._orbax.save_checkpointables_async(
                step, items, force=True, metrics=ranked, custom_metadata=self._metadata
            )

    def restore(self, state: TrainState, step: int | None = None) -> TrainState:
        """Returns the checkpoint of ``step`` (the last one if ``None``) with the shapes and shardings of ``state``."""
        items = self._load(_items(state), step)
        return TrainState(params=items["params"], ema=items.get("ema"), **items["rest"])

    def restore_params(self, step: int | None = None, shardings: Callable[[PyTree], PyTree] | None = None) -> PyTree:
        """Returns the parameters to evaluate (their average if one was kept).

        Args:
          step: the checkpoint; ``None``: the last one.
          shardings: from their shapes to where each of them is to lie; ``None``: all on the first device.
        """
        saved = self._metadata_of(step).metadata
        name = "ema" if "ema" in saved else "params"
        return self._load({name: _placed(saved[name], shardings)}, step)[name]

    def carry_shapes(self, carry: PyTree, step: int | None = None) -> PyTree:
        """Returns the shapes that the carry of ``step`` was saved with; ``carry`` has its structure and formats."""
        saved = jax.tree.leaves(self._metadata_of(step).metadata["rest"]["carry"])
        shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in saved]
        return jax.tree.unflatten(jax.tree.structure(carry), shapes)

    def metadata(self, step: int | None = None) -> dict[str, Any]:
        """Returns what was saved beside the arrays: config, data fingerprint, versions."""
        return self._metadata_of(step).custom_metadata

    def wait(self) -> None:
        """Waits for the save in progress, and raises the error that it met."""
        with self._explained("written", self._saving):
            self._orbax.wait()

    def close(self) -> None:
        """Waits and releases the directory."""
        with self._explained("written", self._saving):
            self._orbax.close()

    def _metadata_of(self, step: int | None):
        with self._explained("read", step):
            return self._orbax.checkpointables_metadata(step)

    def _load(self, wanted: dict[str, PyTree], step: int | None) -> dict[str, PyTree]:
        step = max(self.steps(), default=None) if step is None else step
        with self._explained("read", step):
            saved = self._orbax.checkpointables_metadata(step).metadata
            sums = saved.pop("checksum")
            check_shapes(saved, wanted)
            # One by one: when one of several fails, Orbax abandons the others and Python warns of it.
            loaded = {
                name: self._orbax.load_checkpointables(step, {name: tree})[name]
                for name, tree in (wanted | {"checksum": _placed(sums)}).items()
            }
            sums = loaded.pop("checksum")
            check_sums(loaded, sums)
            return loaded

    @contextlib.contextmanager
    def _explained(self, done: str, step: int | None):
        """Turns whatever Orbax raises into one CheckpointError."""
        try:
            yield
        except Exception as error:
            cause = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            reason = next(iter(str(cause).strip().splitlines()), "no reason given")
            good = [s for s in self.steps() if s != step]
            way = f" To go on from step {good[-1]}, remove {self.directory / str(step)}." if good else ""
            raise CheckpointError(
                f"checkpoint {step} in {self.directory} could not be {done} ({type(cause).__name__}: {reason}). "
                f"Other complete checkpoints: {good or 'none'}.{way if done == 'read' else ''}"
            ) from error


def _items(state: TrainState) -> dict[str, PyTree]:
    rest = {name: getattr(state, name) for name in ("step", "opt_state", "carry", "loss_scale", "key")}
    items = {"params": state.params, "rest": rest}
    return items if state.ema is None else items | {"ema": state.ema}


def _placed(tree: PyTree, shardings: Callable[[PyTree], PyTree] | None = None) -> PyTree:
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
    whole = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    where = jax.tree.map(lambda _: whole, shapes) if shardings is None else shardings(shapes)
    return jax.tree.map(lambda x, place: x.update(sharding=place), shapes, where)
