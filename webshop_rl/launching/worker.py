"""Executes one prepared run in this process and keeps its status.

    python -m webshop_rl.launching.worker '{"run": FOLDER, "launcher_pid": PID}'

is a local process of a launcher; jobs of Slurm and single runs call `execute`. Imports no torch: signals
and the status must work before that is loaded.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from webshop_rl.cli import disk_full
from webshop_rl.errors import UserError
from webshop_rl.launching.log import logged
from webshop_rl.launching.progress import objective, read_progress
from webshop_rl.preemption import Preempted, stop_signals
from webshop_rl.storage.files import replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import STALE_S, Busy
from webshop_rl.storage.run_status import RunStatus, State, read_status

_RANK_ERROR_WAIT_S = 5.0
_CONNECTION = re.compile(r"gloo|nccl|connection (was )?(closed|reset)|broken pipe", re.IGNORECASE)


def train(run_dir: Path) -> float:
    """Train the run of a folder; its objective."""
    from webshop_rl.experiment import run_experiment  # loads torch

    return run_experiment(run_dir)


class LeftAlone(Exception):
    """Another process executes the run."""


class RunFailed(Exception):
    """The run ended with an error; the message is the one line that status.json has too."""


class LostRank(Exception):
    """Another rank of the run is gone; the job's script says what becomes of the run."""


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
    run: RunFolder,
    *,
    patience_s: float = 3.0,
    requeue: Callable[[], bool] | None = None,
) -> float:
    """Run to the end and return the objective; status.json says at every moment where it stands.

    A run that is finished by now (another attempt was faster) returns at once.

    Args:
        run: a folder that `prepare` made.
        patience_s: how long to wait for another process that executes the run.
        requeue: called after a stop on request; True if the run is to be started again, by the caller.
    Raises: LeftAlone, Interrupted, LostRank (the status still says running), or RunFailed after any
        other end, a call of sys.exit included.
    """
    restore = _stop_on_signals()
    try:
        lock = run.worker_lock.acquire(max(patience_s, 1.5 * STALE_S), patience_alive_s=patience_s)
    except Busy as busy:
        raise LeftAlone(f"{run.name}: {busy}") from None
    with lock:
        known = read_status(run) or RunStatus()
        finished = objective(run) if known.state == State.FINISHED else None
        if finished is not None:
            return finished
        run.rank_error.unlink(missing_ok=True)
        update = read_progress(run).update
        worked_s = _worked_s(run, known)
        status = known.start(update=update, worked_s=worked_s).write(run)
        try:
            reached = float(train(run.path))
        except BaseException as error:
            _conclude(run, status, error, requeue)
        finally:
            restore()
        status.finish().write(run)
        return reached


def _conclude(
    run: RunFolder, status: RunStatus, error: BaseException, requeue: Callable[[], bool] | None
) -> NoReturn:
    """Write down how an attempt ended before its time.

    Raises: Interrupted, LostRank or RunFailed.
    """
    if _is_stop(error):
        _stopped(run, status, requeue)
        signum = int(getattr(error, "signum", signal.SIGINT))
        raise Interrupted(f"{run.name}: {one_line(error)}", signum) from None
    problem = one_line(error)
    if is_lost_rank(error):
        problem = rank_error(run, wait_s=_RANK_ERROR_WAIT_S)
        if not problem:
            raise LostRank(f"{run.name}: {one_line(error)}") from error
    after = status.fail(problem)
    if full := disk_full(error):
        error, problem = full, one_line(full)
        after = status.stop(problem, update=read_progress(run).update)  # nothing is wrong with the run
    with contextlib.suppress(OSError):  # on a full disk it stays "running", by a process that is gone
        after.write(run)
    _print_error(error)
    raise RunFailed(f"{run.name}: {problem}") from error


def _print_error(error: BaseException) -> None:
    """What the user can mend is one line; anything else is printed with where it came from."""
    if isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        traceback.print_exception(error)


def _worked_s(run: RunFolder, known: RunStatus) -> float:
    """Wall time of the last attempt; of one that was killed, until its last record."""
    if known.ended >= known.started:
        return known.elapsed_s
    return max(0.0, run.journal.stat().st_mtime - known.started) if run.journal.exists() else 0.0


def _stopped(run: RunFolder, status: RunStatus, requeue: Callable[[], bool] | None) -> None:
    """Write down that a run stopped on request, and whether it is to be started again.

    Raises: RunFailed if another rank of this run had failed, or if requeues lead nowhere.
    """
    update = read_progress(run).update
    after = status.stop(update=update) if requeue is None else status.preempt(update=update)
    if problem := rank_error(run):
        after = after.fail(problem)
    after.write(run)
    if after.state == State.FAILED:
        raise RunFailed(f"{run.name}: {after.error}")
    if requeue is not None and not requeue():
        status.stop(update=update).write(run)


def follow(run: RunFolder, rank: int) -> None:
    """Execute a run's share of a rank that is not the first: it computes, and the first one writes.

    Raises: RunFailed, after a note for the first rank, which is then asked to stop.
    """
    try:
        train(run.path)
    except BaseException as error:
        if _is_stop(error):
            raise Interrupted(one_line(error)) from None
        if not is_lost_rank(error):
            replace_file(run.rank_error, f"process {rank}: {one_line(error)}", durable=False)
        _print_error(error)
        raise RunFailed(f"process {rank}: {one_line(error)}") from error


def is_lost_rank(error: BaseException) -> bool:
    """Whether a rank of several failed because another is gone, by what torch.distributed raises."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return False
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "DistError" in kinds or (
        isinstance(error, RuntimeError) and _CONNECTION.search(str(error)) is not None
    )


def rank_error(run: RunFolder, wait_s: float = 0.0) -> str:
    """What another rank of the run failed with, "" if none has reported one."""
    deadline = time.monotonic() + wait_s
    while not run.rank_error.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    return run.rank_error.read_text() if run.rank_error.exists() else ""


def _is_stop(error: BaseException) -> bool:
    """Whether the run ended because it was asked to."""
    return isinstance(error, KeyboardInterrupt | Interrupted | Preempted)


# What a table, a tag of MLflow and a terminal take of an error.
_LONGEST = 600


def one_line(error: BaseException) -> str:
    """An exception as one line: its class and the lines of its message; of a UserError the message.

    Of a message longer than a screen the middle is left out: the reason stands at one of its ends.
    """
    text = " ".join(str(error).split())
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    if isinstance(error, UserError):
        return text
    name = type(error).__name__
    return f"{name}: {text}" if text else name


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
    """Have the kernel send SIGTERM when the launcher ends, so that no run outlives a killed launcher."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:
        raise Interrupted("the launcher is gone")


def main(run: RunFolder, launcher_pid: int) -> int:
    """Execute a run and nothing once the launcher is gone; the process's exit code."""
    try:
        end_with_parent(launcher_pid)
        with logged(run, screen=False):
            execute(run)
    except (Interrupted, LeftAlone):
        pass  # the run's status says so
    except RunFailed:
        return 1  # its traceback is in the log
    return 0


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    raise SystemExit(main(RunFolder(Path(job["run"])), job["launcher_pid"]))
