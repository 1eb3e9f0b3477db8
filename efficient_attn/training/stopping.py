"""The ways in which a run ends before its last step."""

import signal
import threading
from types import FrameType


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
