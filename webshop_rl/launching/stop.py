"""Requests to stop the launcher: Ctrl-C, SIGTERM, SIGHUP."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

# Signals that come together (a closing session sends two) are one request.
_TOGETHER_S = 0.3


class StopRequests:
    """Counts requests instead of dying at the first, while it is entered.

    The first asks the runs to save themselves and end; the second (`urgent`) does not wait for them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signum = 0
        self.urgent = False
        self._first = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequests:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                if signum == signal.SIGHUP and signal.getsignal(signum) is signal.SIG_IGN:
                    continue  # under nohup a closed terminal is no request
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.count and now - self._first > _TOGETHER_S:
            self.urgent = True
        if not self.count:
            self._first, self.signum = now, signum
        self.count += 1

    @property
    def exit_code(self) -> int:
        """Exit code of a command that such a request ended; 0 without one."""
        return 128 + self.signum if self.signum else 0
