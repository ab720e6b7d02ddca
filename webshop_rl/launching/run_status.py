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
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.folder import JOB, STATUS, read_json, replace_text
from webshop_rl.launching.progress import last_log_line
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
# How Slurm calls jobs that ended by no wish of anyone's: by themselves, or because it took the node away.
_TAKEN_AWAY = ("TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")
_DIED = ("FAILED", "OUT_OF_MEMORY", *_TAKEN_AWAY)
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
    if holder := holding_job(run_dir):
        job = (jobs or query_jobs()).get(holder.job_id, submitted=holder.submitted)
        latest = read_status(run_dir) or status
        if job is None or (job.forgotten and worker_lock(run_dir).holder() is not None):
            return latest
        return _seen_with_job(status, latest, job, holder)
    if status.state == State.RUNNING and worker_lock(run_dir).holder() is None:
        # The holder may have ended, and said so, between our two looks.
        if (now := read_status(run_dir)) != status:
            return now
        if launcher_alive(root, status.launcher):
            return replace(status, state=State.QUEUED)  # its launcher will start it again
        return replace(status, state=State.INTERRUPTED, launcher="", error="its process is gone")
    if status.state == State.QUEUED and not launcher_alive(root, status.launcher):
        return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, launcher="")
    return status


def _seen_with_job(before: RunStatus, status: RunStatus, job: Job, holder: HoldingJob) -> RunStatus:
    """A run's status beside the job that holds it; before was read before the job was looked at."""
    if status != before or status.state not in _UNSETTLED:
        return status  # the run itself has just told
    if job.waits:
        return replace(status, state=State.PREEMPTED if status.attempts else State.QUEUED)
    if not job.over:
        # An interrupted run whose job is still being ended may be about to run again.
        ending = status.state == State.INTERRUPTED
        return replace(status, state=State.PREEMPTED) if ending else status
    cause = cause_of_death(status, job)
    if cause and job.state not in _TAKEN_AWAY:
        last = last_log_line(holder.complaints.parent, holder.complaints.name)
        return replace(status, state=State.FAILED, error=f"{cause}: {last}" if last else cause)
    gone = f"its job is over (Slurm: {job.state})" if job.state else "its job is gone"
    why = status.error or cause or gone
    return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, error=why)


def cause_of_death(status: RunStatus, job: Job) -> str:
    """How a job ended that nobody asked to end, and whose run could not say so; "" for any other.

    Args:
        status: of a run that is not finished and has not failed.
        job: one that is over.
    """
    died = job.state in _DIED or (job.state == "COMPLETED" and status.state == State.RUNNING)
    return f"its job ended without a word (Slurm: {job.state})" if died else ""


def settle(run_dir: Path, seen: RunStatus) -> bool:
    """Write down how a run ended that could not say so itself, for Slurm forgets its jobs; True if so."""
    if seen.state not in (State.FAILED, State.INTERRUPTED) or seen == read_status(run_dir):
        return False
    write_status(run_dir, replace(seen, ended=seen.ended or time.time(), launcher=""))
    return True


@dataclass(frozen=True)
class HoldingJob:
    """A run's job.json.

    Attributes:
        job_id: Slurm's.
        submitted: seconds since 1970.
        folder: where submitit keeps the job's files.
    """

    job_id: str
    submitted: float = 0.0
    folder: str = ""

    @property
    def complaints(self) -> Path:
        """What the job's script and its first process print on stderr."""
        return Path(self.folder, f"{self.job_id}_0_log.err")


def holding_job(run_dir: Path) -> HoldingJob | None:
    """The Slurm job that the run was last submitted as; None for a run of no job."""
    content = read_json(run_dir / JOB) or {}
    known = {f.name: content[f.name] for f in fields(HoldingJob) if f.name in content}
    return HoldingJob(**known) if known.get("job_id") else None


def job_complaints(run_dir: Path) -> Path | None:
    """The file of what the run's job printed on stderr, if there is one."""
    job = holding_job(run_dir)
    return job.complaints if job is not None and job.complaints.is_file() else None


def held_by_job(run_dir: Path) -> str:
    """Id of that job, "" for a run of no job."""
    job = holding_job(run_dir)
    return job.job_id if job else ""


def jobs_of(run_dirs: Iterable[Path], ask: Callable[[], Jobs] = query_jobs) -> Jobs:
    """Slurm's view of the jobs if one holds any of the runs; else it is not asked, for it may be slow."""
    now = time.time()
    return ask() if any(held_by_job(run_dir) for run_dir in run_dirs) else Jobs({}, asked=now)


def hold_by_job(run_dir: Path, job_id: str, folder: Path | None = None) -> None:
    """Note the job a run was submitted as; "" for none. Beside status.json, which the run itself writes."""
    if job_id:
        job = HoldingJob(job_id, time.time(), str(folder or ""))
        replace_text(run_dir / JOB, json.dumps(asdict(job)))
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
