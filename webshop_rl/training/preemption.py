"""SIGTERM and SIGUSR2 ask a run to save itself and stop; the run answers between two decisions."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Preempted(Exception):
    """The run was asked to stop; its state is on disk and the same command resumes it."""


class StopRequest:
    """A flag that signals raise.

    Within `with StopRequest() as stop:`, SIGTERM, SIGUSR2 and SIGINT set it; the old handlers come
    back afterwards. A second SIGINT interrupts at once.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._old: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raises: Preempted if a signal has come."""
        if self.requested is not None:
            raise Preempted(f"stopped by {self.requested.name}")

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._old = {s: signal.signal(s, self._take) for s in self.SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested is signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)
