"""Executes one prepared run in this process and keeps its status; what submitit's jobs call.

Imports no torch: signals and the status must work before that is loaded.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from webshop_rl.launching.progress import read_progress
from webshop_rl.launching.run_status import RunStatus, State, one_line, read_status, worker_lock, write_status
from webshop_rl.tracking.lock import Busy
from webshop_rl.training.preemption import Preempted

# The variable lets tests of the launcher put something cheap in the place of training.
ENTRY = os.environ.get("WEBSHOP_RL_ENTRY", "webshop_rl.experiment:run_experiment")


class LeftAlone(Exception):
    """Another process executes the run."""


class RunFailed(Exception):
    """The run ended with an error; the message is the one line that status.json has too."""


class Interrupted(Exception):
    """The run saved itself, or had nothing to save, and stopped because it was asked to."""

    exit_code = 130


def execute(run_dir: Path, *, entry: str = ENTRY, job_id: str = "") -> float:
    """Run to the end and return the objective; status.json says at every moment where it stands.

    Args:
        run_dir: a folder that `prepare` made.
        entry: `module:function` that takes the folder and returns the objective.
        job_id: Slurm's job, if one holds the run.
    Raises: LeftAlone, Interrupted, or RunFailed after any other end, a call of sys.exit included.
    """
    restore = _stop_on_signals()
    try:
        lock = worker_lock(run_dir).acquire(wait_s=60.0)
    except Busy as busy:
        raise LeftAlone(f"{run_dir.name}: {busy}") from None
    with lock:
        status = _started(run_dir, job_id)
        try:
            objective = float(_load(entry)(run_dir))
        except BaseException as error:
            _ended(run_dir, status, error)
            if _is_stop(error):
                raise Interrupted(f"{run_dir.name}: {one_line(error)}") from None
            traceback.print_exc()
            raise RunFailed(f"{run_dir.name}: {one_line(error)}") from error
        finally:
            restore()
        write_status(run_dir, replace(status, state=State.FINISHED, deaths=0, ended=time.time()))
        return objective


def _started(run_dir: Path, job_id: str) -> RunStatus:
    known = read_status(run_dir) or RunStatus()
    return write_status(
        run_dir,
        replace(
            known,
            state=State.RUNNING,
            attempts=known.attempts + 1,
            job_id=job_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=time.time(),
            ended=0.0,
            progress=read_progress(run_dir).update,
            error="",
        ),
    )


def _ended(run_dir: Path, status: RunStatus, error: BaseException) -> None:
    state = State.INTERRUPTED if _is_stop(error) else State.FAILED
    message = "stopped on request" if _is_stop(error) else one_line(error)
    write_status(run_dir, replace(status, state=state, deaths=0, ended=time.time(), error=message))


def _is_stop(error: BaseException) -> bool:
    """Whether the run ended because it was asked to."""
    return isinstance(error, KeyboardInterrupt | Interrupted | Preempted)


def _load(entry: str) -> Callable[[Path], float]:
    module, _, function = entry.partition(":")
    loaded: Callable[[Path], float] = getattr(importlib.import_module(module), function)
    return loaded


def _stop_on_signals() -> Callable[[], None]:
    """Until the run sets handlers of its own (after loading torch), a signal ends it cleanly."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signal.Signals(signum).name)

    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGUSR2)}

    def restore() -> None:
        for signum, handler in before.items():
            signal.signal(signum, handler if handler is not None else signal.SIG_DFL)

    return restore


def end_with_parent(parent: int) -> None:
    """Have the kernel send SIGTERM when the launcher dies, so that no run outlives a killed launcher."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        raise Interrupted("the launcher is gone")
