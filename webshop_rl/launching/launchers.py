"""Launchers: which are alive, which of them plans, and the user's requests to stop one."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from webshop_rl.errors import UserError
from webshop_rl.launching.reconcile import launcher_alive
from webshop_rl.launching.slurm.jobs import job_id_of
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.lock import Busy, FolderLock
from webshop_rl.storage.run_status import State, read_status

_PLAN_WAIT_S = 120.0
# Signals that come together (a closing session sends two) are one request.
_TOGETHER_S = 0.3


@contextlib.contextmanager
def alive_as_launcher(root: Root) -> Iterator[str]:
    """Within, the launcher of the name that is given is alive; runs in its queue name it."""
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = root.launcher_lock(name)
    try:
        with lock:
            yield name
    finally:
        shutil.rmtree(lock.folder, ignore_errors=True)


def lost_launcher(run: RunFolder) -> str:
    """Name of the launcher that ended before it noted the job it submitted the run as; "" if none did."""
    status = read_status(run)
    if status is None or status.state != State.QUEUED or job_id_of(run):
        return ""
    return "" if launcher_alive(run, status) else status.launcher


def planning(root: Root) -> FolderLock:
    """Locked while it is decided who executes what, so that two launchers do not both decide to.

    Raises: UserError if another launch takes too long over it.
    """
    try:
        return root.plan_lock.acquire(wait_s=_PLAN_WAIT_S, patience_alive_s=_PLAN_WAIT_S)
    except Busy as busy:
        raise UserError(
            f"another launch is being planned, {busy}", where=str(root.path), remedy="try again"
        ) from busy
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}", where=str(root.path), remedy="root=FOLDER gives another"
        ) from error


class StopRequests:
    """While it is entered, requests to stop are counted instead of ending the process.

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
                    continue  # under nohup a closed terminal is not a request
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
            self._first = now
            self.signum = signum
        self.count += 1

    @property
    def exit_code(self) -> int:
        """Exit code of a command that such a request ended; 0 without one."""
        return 128 + self.signum if self.signum else 0


def ask_to_cancel(policy: str, stop: StopRequests) -> bool:
    """Whether the jobs are to be cancelled.

    Args:
        policy: cancel | leave | ask; asked is only at Ctrl-C, on a terminal.
        stop: a second request while the question stands means: leave them.
    """
    if policy != "ask":
        return policy == "cancel"
    if stop.signum != signal.SIGINT or not sys.stdin.isatty():
        return False
    print("\ncancel the jobs of this sweep? [y/N] ", end="", flush=True)
    while not stop.urgent:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready:
            return sys.stdin.readline().strip().lower() in ("y", "yes")
    return False
