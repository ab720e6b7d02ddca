"""Executes one prepared run in this process and keeps its status; what submitit's jobs call.

Imports no torch: signals and the status must work before that is loaded.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from webshop_rl.cli import disk_full
from webshop_rl.errors import UserError
from webshop_rl.launching.runs.progress import read_progress
from webshop_rl.launching.runs.results import objective
from webshop_rl.launching.runs.state import RunStatus, State, one_line, read_status, worker_lock, write_status
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import STALE_S, Busy
from webshop_rl.training.preemption import Preempted, stop_signals

# The variable lets tests of the launcher put something cheap in the place of training.
ENTRY = os.environ.get("WEBSHOP_RL_ENTRY", "webshop_rl.experiment:run_experiment")

# Preemptions in a row that may come before the first update of an attempt.
MAX_STALLS = 10
_PEER_WAIT_S = 5.0
_CONNECTION = re.compile(r"gloo|nccl|connection (was )?(closed|reset)|broken pipe", re.IGNORECASE)


class LeftAlone(Exception):
    """Another process executes the run."""


class RunFailed(Exception):
    """The run ended with an error; the message is the one line that status.json has too."""


class LostPeer(Exception):
    """Another process of the run is gone; the job's script says what becomes of the run."""


class Interrupted(BaseException):
    """The run saved itself, or had nothing to save, and stopped because it was asked to.

    No Exception: it may be raised while a library is imported that catches those.

    Args:
        message: why, in a few words.
        signum: the signal that asked.
    """

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """Of a command that ends so: 128 + signal, as a shell has it."""
        return 128 + self.signum


def execute(
    run_dir: Path,
    *,
    entry: str = ENTRY,
    patience_s: float = 3.0,
    requeue: Callable[[], bool] | None = None,
) -> float:
    """Run to the end and return the objective; status.json says at every moment where it stands.

    A run that is finished by now (another attempt was faster) returns at once.

    Args:
        run_dir: a folder that `prepare` made.
        entry: `module:function` that takes the folder and returns the objective.
        patience_s: how long to wait for another process that executes the run.
        requeue: called after a stop on request; True if the run is to be started again, by the caller.
    Raises: LeftAlone, Interrupted, LostPeer (the status still says running), or RunFailed after any
        other end, a call of sys.exit included.
    """
    restore = _stop_on_signals()
    try:
        lock = worker_lock(run_dir).acquire(max(patience_s, 1.5 * STALE_S), patience_alive_s=patience_s)
    except Busy as busy:
        raise LeftAlone(f"{run_dir.name}: {busy}") from None
    with lock:
        known = read_status(run_dir) or RunStatus()
        finished = objective(run_dir) if known.state == State.FINISHED else None
        if finished is not None:
            return finished
        status = _started(run_dir, known)
        try:
            reached = float(load(entry)(run_dir))
        except BaseException as error:
            if _is_stop(error):
                _stopped(run_dir, status, requeue)
                signum = int(getattr(error, "signum", signal.SIGINT))
                raise Interrupted(f"{run_dir.name}: {one_line(error)}", signum) from None
            problem = one_line(error)
            if is_lost_peer(error):
                problem = peer_error(run_dir, wait_s=_PEER_WAIT_S)
                if not problem:
                    raise LostPeer(f"{run_dir.name}: {one_line(error)}") from error
            failed = replace(status, state=State.FAILED, deaths=0, ended=time.time(), error=problem)
            if full := disk_full(error):
                error, problem = full, one_line(full)
                failed = replace(
                    failed, state=State.INTERRUPTED, error=problem
                )  # nothing is wrong with the run
            with contextlib.suppress(
                OSError
            ):  # on a full disk the status stays "running", by a process that is gone
                write_status(run_dir, failed)
            _print_error(error)
            raise RunFailed(f"{run_dir.name}: {problem}") from error
        finally:
            restore()
        write_status(run_dir, replace(status, state=State.FINISHED, deaths=0, stalls=0, ended=time.time()))
        return reached


def _print_error(error: BaseException) -> None:
    """What the user can mend is one line; anything else is printed with where it came from."""
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _started(run_dir: Path, known: RunStatus) -> RunStatus:
    (RunFolder(run_dir).rank_error).unlink(missing_ok=True)
    return write_status(
        run_dir,
        replace(
            known,
            state=State.RUNNING,
            attempts=known.attempts + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=time.time(),
            ended=0.0,
            earlier_s=known.earlier_s + _worked_s(run_dir, known),
            progress=read_progress(run_dir).update,
            error="",
        ),
    )


def _worked_s(run_dir: Path, known: RunStatus) -> float:
    """Wall time of the last attempt; of one that was killed without a word, until its last record."""
    if known.ended >= known.started:
        return known.elapsed_s
    journal = RunFolder(run_dir).journal
    return max(0.0, journal.stat().st_mtime - known.started) if journal.exists() else 0.0


def _stopped(run_dir: Path, status: RunStatus, requeue: Callable[[], bool] | None) -> None:
    """Say so, and whether the run is to be started again.

    Raises: RunFailed if another process of this run had failed, or if requeues lead nowhere.
    """
    stalls = 0 if read_progress(run_dir).update > status.progress else status.stalls + 1
    stopped = replace(status, deaths=0, stalls=stalls, ended=time.time(), error="stopped on request")
    problem = peer_error(run_dir)
    if requeue is not None and stalls > MAX_STALLS:
        problem = problem or f"stopped {stalls} times in a row before it got further"
    if problem:
        write_status(run_dir, replace(stopped, state=State.FAILED, stalls=0, error=problem))
        raise RunFailed(f"{run_dir.name}: {problem}")
    if requeue is not None:
        write_status(run_dir, replace(stopped, state=State.PREEMPTED, error=""))
        if requeue():
            return
    write_status(run_dir, replace(stopped, state=State.INTERRUPTED))


def follow(run_dir: Path, rank: int, *, entry: str = ENTRY) -> None:
    """Execute a run's share of a process that is not the first: it computes, and the first one writes.

    Raises: RunFailed, after a note for the first process, which is then asked to stop.
    """
    try:
        load(entry)(run_dir)
    except BaseException as error:
        if _is_stop(error):
            raise Interrupted(one_line(error)) from None
        if not is_lost_peer(error):
            replace_file(RunFolder(run_dir).rank_error, f"process {rank}: {one_line(error)}", durable=False)
        _print_error(error)
        raise RunFailed(f"process {rank}: {one_line(error)}") from error


def is_lost_peer(error: BaseException) -> bool:
    """Whether a process of several failed because another is gone, as torch.distributed tells it."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "DistError" in kinds or (
        isinstance(error, RuntimeError) and _CONNECTION.search(str(error)) is not None
    )


def peer_error(run_dir: Path, wait_s: float = 0.0) -> str:
    """What another process of the run failed with, "" if none has said so."""
    path, deadline = RunFolder(run_dir).rank_error, time.monotonic() + wait_s
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return path.read_text() if path.exists() else ""


def _is_stop(error: BaseException) -> bool:
    """Whether the run ended because it was asked to."""
    return isinstance(error, KeyboardInterrupt | Interrupted | Preempted)


def load(entry: str) -> Callable[[Path], float]:
    """The function an entry names."""
    module, _, function = entry.partition(":")
    loaded: Callable[[Path], float] = getattr(importlib.import_module(module), function)
    return loaded


def _stop_on_signals() -> Callable[[], None]:
    """Until the run sets handlers of its own (after loading torch), a signal ends it cleanly."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(f"stopped by {signal.Signals(signum).name}", signum)

    before = {s: signal.signal(s, stop) for s in stop_signals()}

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
