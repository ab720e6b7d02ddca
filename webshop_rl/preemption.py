"""SIGTERM, SIGUSR2, SIGINT and SIGHUP ask a run to save itself and stop; it answers between two decisions."""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Preempted(Exception):
    """The run was asked to stop; its state is on disk and the same command resumes it.

    Args:
        message: why, in a few words.
        signum: the signal that asked.
    """

    def __init__(self, message: str, signum: signal.Signals = signal.SIGTERM) -> None:
        super().__init__(message)
        self.signum = signum


def stop_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a run to stop; SIGHUP is none where it is ignored already, as `nohup` has it."""
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)
    return (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT, *hangup)


class StopRequest:
    """A flag that signals raise.

    Within `with StopRequest() as stop:`, those of stop_signals() set it; the old handlers come back
    afterwards. A second SIGINT interrupts at once.
    """

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._old: dict[signal.Signals, object] = {}

    def check(self) -> None:
        """Raises: Preempted if a signal has come."""
        if self.requested is not None:
            raise Preempted(f"stopped by {self.requested.name}", self.requested)

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._old = {s: signal.signal(s, self._take) for s in stop_signals()}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _take(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.requested is signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)
