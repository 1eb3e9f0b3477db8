"""A trace of a few steps for TensorBoard's profiler or Perfetto."""

import dataclasses
from pathlib import Path
from typing import Any

import jax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Profile:
    """Steps recorded by the JAX profiler into ``profile`` in the workdir."""

    start: int = 10
    """First recorded step; past the first few, which compile."""
    count: int = 3

    def __post_init__(self):
        if self.start < 1 or self.count < 1:
            raise ValueError(f"profile needs start >= 1 and count >= 1; got {self}")


class Profiler:
    """Starts and stops the trace; leaving it stops one that is still open."""

    def __init__(self, profile: Profile | None, directory: Path):
        self._profile, self._directory, self._open = profile, directory, False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def before(self, step: int) -> None:
        """Starts the trace if ``step`` is the first to record."""
        if self._profile and step == self._profile.start:
            jax.profiler.start_trace(str(self._directory))
            self._open = True

    def after(self, step: int, result: Any) -> None:
        """Stops the trace if ``step`` is the last to record, once ``result`` is there."""
        if self._open and step >= self._profile.start + self._profile.count - 1:
            jax.block_until_ready(result)
            self._stop()

    def _stop(self) -> None:
        if self._open:
            self._open = False
            jax.profiler.stop_trace()
