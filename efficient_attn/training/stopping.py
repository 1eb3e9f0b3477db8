"""The ways in which a run ends before its last step."""

import signal
import threading
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np


class Stopped(SystemExit):
    """A signal ended the run after its state was saved. Uncaught, it ends the process with status 0."""

    def __init__(self, step: int, name: str):
        super().__init__(0)
        self.step, self.signal = step, name

    def __str__(self) -> str:
        return f"stopped by {self.signal} at step {self.step}, which is saved; the same command goes on from there"


class NonFinite(FloatingPointError):
    """A loss or a gradient was not finite. The message names the step, the tensor and the last good checkpoint."""


class StopSignal:
    """Notes SIGTERM and SIGINT while it is entered; a second one acts as it did before, so Ctrl-C twice kills.

    Signals reach the main thread only: elsewhere this notes nothing.
    """

    name: str | None = None
    """The signal that came, if one did."""

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.name = signal.Signals(number).name
        self.__exit__()


class Agreement:
    """What signal reached any process of a run: the same answer in all of them after the same step, so all stop together.

    One process knows at once. Several take the greatest of their signals by a reduction over the mesh, which runs behind
    the steps as the metrics do: its answer is that of the step before.
    """

    def __init__(self, signal: StopSignal, mesh: jax.sharding.Mesh):
        self._signal, self._mesh = signal, mesh
        self._greatest = jax.jit(jnp.max, out_shardings=jax.NamedSharding(mesh, jax.P()))
        self._before: jax.Array | None = None

    def after_step(self) -> str | None:
        """The name of the signal that ends the run now; to be called by every process after every step."""
        if jax.process_count() == 1:
            return self._signal.name
        before, self._before = self._before, self._greatest(self._everyones())
        number = 0 if before is None else int(before)
        return signal.Signals(number).name if number else None

    def _everyones(self) -> jax.Array:
        """This process's signal, 0 if none came, on each of its devices."""
        number = signal.Signals[self._signal.name].value if self._signal.name else 0
        placement = jax.NamedSharding(self._mesh, jax.P(self._mesh.axis_names))
        return jax.make_array_from_callback(
            (self._mesh.size,), placement, lambda _: np.full(1, number, np.int32), dtype=np.int32
        )
