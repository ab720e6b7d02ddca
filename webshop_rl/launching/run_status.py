"""The state of a run, as its folder tells it, also after a kill -9 that left no word.

prepared -> queued -> running -> finished
                         |-----> failed       the run raised an error, or was killed too often
                         |-----> interrupted  stopped on request, or its process is gone
                         '-----> preempted    saved itself and waits in Slurm's queue again
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.folder import JOB, STATUS, read_json, replace_text
from webshop_rl.launching.slurm_cluster import Job, Jobs, query_jobs
from webshop_rl.tracking.lock import Busy, FolderLock

# Not the tracker's lock of the same folder, which is taken later, once torch is loaded.
WORKER_LOCK = "worker"
_PLAN_WAIT_S = 120.0


class State(enum.StrEnum):
    """Where a run stands."""

    PREPARED = "prepared"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PREEMPTED = "preempted"


# In the hands of a launcher or of Slurm.
GOING = (State.QUEUED, State.RUNNING, State.PREEMPTED)
# What something else than the run's own word may change.
_UNSETTLED = (*GOING, State.INTERRUPTED)


@dataclass(frozen=True)
class RunStatus:
    """One run's status.json.

    Attributes:
        state: as last written; see `observe` for what is true now.
        attempts: how often the run was started.
        deaths: attempts in a row that were killed without getting further.
        stalls: attempts in a row that were stopped and requeued without getting further.
        launcher: id of the launcher whose local queue holds the run; "" for none.
        host, pid: of the process that ran or runs it.
        queued, started, ended: seconds since 1970 of the last such event; 0 for never.
        progress: updates done when the last attempt started.
        error: one line, of a failed or interrupted run.
    """

    state: State = State.PREPARED
    attempts: int = 0
    deaths: int = 0
    stalls: int = 0
    launcher: str = ""
    host: str = ""
    pid: int = 0
    queued: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    progress: int = 0
    error: str = ""

    @property
    def elapsed_s(self) -> float:
        """Wall time of the last attempt so far, seconds."""
        if not self.started:
            return 0.0
        return max(0.0, (self.ended if self.ended >= self.started else time.time()) - self.started)


def read_status(run_dir: Path) -> RunStatus | None:
    """What the folder says; None if it holds no run (or a torn start of one)."""
    content = read_json(run_dir / STATUS)
    if content is None:
        return None
    known = {f.name for f in fields(RunStatus)}
    status = RunStatus(**{k: v for k, v in content.items() if k in known})
    return replace(status, state=State(status.state))


def write_status(run_dir: Path, status: RunStatus) -> RunStatus:
    """Replace status.json in one step; returns what was written."""
    replace_text(run_dir / STATUS, json.dumps(asdict(status), indent=1))
    return status


def observe(root: Path, run_dir: Path, jobs: Jobs | None = None) -> RunStatus | None:
    """The status with what can be seen from here: nothing runs without a process or waits without a queue.

    Args:
        root: folder of the runs.
        run_dir: the run's folder.
        jobs: Slurm's view of the moment, asked for if a job holds the run and None is given.
    Returns: None if the folder holds no run.
    """
    status = read_status(run_dir)
    if status is None or status.state not in _UNSETTLED:
        return status
    job_id = held_by_job(run_dir)
    if job_id:
        job = (jobs or query_jobs()).get(job_id)
        return status if job is None else _seen_with_job(status, read_status(run_dir) or status, job)
    if status.state == State.RUNNING and worker_lock(run_dir).holder() is None:
        # The holder may have ended, and said so, between our two looks.
        latest = read_status(run_dir)
        if latest != status:
            return latest
        if launcher_alive(root, status.launcher):
            return replace(status, state=State.QUEUED)  # its launcher will start it again
        return replace(status, state=State.INTERRUPTED, launcher="", error="its process is gone")
    if status.state == State.QUEUED and not launcher_alive(root, status.launcher):
        return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, launcher="")
    return status


def _seen_with_job(before: RunStatus, status: RunStatus, job: Job) -> RunStatus:
    """A run's status beside the job that holds it; before was read before the job was looked at."""
    if status != before or status.state not in _UNSETTLED:
        return status  # the run itself has just told
    if job.waits:
        return replace(status, state=State.PREEMPTED if status.attempts else State.QUEUED)
    if status.state == State.INTERRUPTED:
        # Slurm is still ending the job, perhaps only to run it again.
        return status if job.over else replace(status, state=State.PREEMPTED)
    if not job.over:
        return status
    if job.state == "OUT_OF_MEMORY":
        return replace(status, state=State.FAILED, error="out of memory (Slurm)")
    if job.state == "FAILED" or (job.state == "COMPLETED" and status.state == State.RUNNING):
        return replace(status, state=State.FAILED, error=f"its job ended without a word (Slurm: {job.state})")
    why = status.error or (f"its job is over (Slurm: {job.state})" if job.state else "its job is gone")
    return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, error=why)


def settle(run_dir: Path, seen: RunStatus) -> bool:
    """Write down how a run ended that could not say so itself, for Slurm forgets its jobs; True if so."""
    if seen.state not in (State.FAILED, State.INTERRUPTED) or seen == read_status(run_dir):
        return False
    write_status(run_dir, replace(seen, ended=seen.ended or time.time(), launcher=""))
    return True


def held_by_job(run_dir: Path) -> str:
    """Id of the Slurm job that the run was last submitted as; "" for a run of no job."""
    return str((read_json(run_dir / JOB) or {}).get("job_id", ""))


def hold_by_job(run_dir: Path, job_id: str) -> None:
    """Note the job a run was submitted as; "" for none. Beside status.json, which the run itself writes."""
    if job_id:
        replace_text(run_dir / JOB, json.dumps({"job_id": job_id, "submitted": time.time()}))
    else:
        (run_dir / JOB).unlink(missing_ok=True)


def worker_lock(run_dir: Path) -> FolderLock:
    """Held by the one process that executes the run."""
    return FolderLock(run_dir, WORKER_LOCK)


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
    owner = FolderLock(root / "launchers", name).holder() if name else None
    return None if owner is None else LauncherProcess(owner.host, owner.pid)


@contextlib.contextmanager
def alive_as_launcher(root: Path) -> Iterator[str]:
    """Within, `launcher_alive` is true of the id that is given; runs in a queue name its launcher's."""
    name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    lock = FolderLock(root / "launchers", name)
    try:
        with lock:
            yield name
    finally:
        shutil.rmtree(lock.folder, ignore_errors=True)


def launcher_alive(root: Path, name: str) -> bool:
    """Whether the launcher of that id still runs."""
    return bool(name) and FolderLock(root / "launchers", name).holder() is not None


def planning(root: Path) -> FolderLock:
    """Held while it is decided who executes what, so that two launchers do not both decide to.

    Raises: UserError if another launch takes too long over it.
    """
    try:
        return FolderLock(root, "plan").acquire(wait_s=_PLAN_WAIT_S, patience_alive_s=_PLAN_WAIT_S)
    except Busy as busy:
        raise UserError(
            f"another launch is being planned, {busy}", where=str(root), remedy="try again"
        ) from busy


def one_line(error: BaseException) -> str:
    """An exception as one line: its class and the first line of its message; of a UserError the message."""
    text = str(error).strip().splitlines()
    if isinstance(error, UserError):
        return text[0]
    name = type(error).__name__
    return f"{name}: {text[0]}" if text else name
