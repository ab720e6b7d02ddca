"""Which launchers are alive, and which of them plans: known by the locks they hold."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.runs.state import State, held_by_job, read_status
from webshop_rl.storage.folders import Root
from webshop_rl.storage.lock import Busy, FolderLock

_PLAN_WAIT_S = 120.0


@dataclass(frozen=True)
class LauncherProcess:
    """The process of a launcher, by its machine's name and its id there."""

    host: str
    pid: int

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.host == socket.gethostname()


def launcher_process(root: Path, name: str) -> LauncherProcess | None:
    """The process of the launcher of that id, if it still runs."""
    owner = Root(root).launcher_lock(name).holder() if name else None
    return None if owner is None else LauncherProcess(owner.host, owner.pid)


@contextlib.contextmanager
def alive_as_launcher(root: Path) -> Iterator[str]:
    """Within, `launcher_alive` is true of the id that is given; runs in a queue name its launcher's."""
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = Root(root).launcher_lock(name)
    try:
        with lock:
            yield name
    finally:
        shutil.rmtree(lock.folder, ignore_errors=True)


def launcher_alive(root: Path, name: str) -> bool:
    """Whether the launcher of that id still runs."""
    return bool(name) and Root(root).launcher_lock(name).holder() is not None


def lost_launcher(root: Path, run_dir: Path) -> str:
    """Id of the launcher that died before it noted which job holds the run; "" if none did."""
    status = read_status(run_dir)
    if status is None or status.state != State.QUEUED or held_by_job(run_dir):
        return ""
    return "" if launcher_alive(root, status.launcher) else status.launcher


def planning(root: Path) -> FolderLock:
    """Held while it is decided who executes what, so that two launchers do not both decide to.

    Raises: UserError if another launch takes too long over it.
    """
    try:
        return Root(root).plan_lock.acquire(wait_s=_PLAN_WAIT_S, patience_alive_s=_PLAN_WAIT_S)
    except Busy as busy:
        raise UserError(
            f"another launch is being planned, {busy}", where=str(root), remedy="try again"
        ) from busy
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}", where=str(root), remedy="root=FOLDER gives another"
        ) from error
