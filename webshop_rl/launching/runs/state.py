"""The state of a run, as its folder tells it, also after a kill -9 that left no word.

prepared -> queued -> running -> finished
                         |-----> failed       the run raised an error, or was killed too often
                         |-----> interrupted  stopped on request, or its process is gone
                         '-----> preempted    saved itself and waits in Slurm's queue again
"""

from __future__ import annotations

import enum
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.cluster.commands import query_jobs
from webshop_rl.launching.cluster.jobs import Jobs
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import FolderLock


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
        earlier_s: wall time of the attempts before the last, seconds.
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
    earlier_s: float = 0.0
    progress: int = 0
    error: str = ""

    @property
    def elapsed_s(self) -> float:
        """Wall time of the last attempt so far, seconds."""
        if not self.started:
            return 0.0
        return max(0.0, (self.ended if self.ended >= self.started else time.time()) - self.started)

    @property
    def total_s(self) -> float:
        """Wall time of all attempts so far, seconds."""
        return self.earlier_s + self.elapsed_s


def read_status(run_dir: Path) -> RunStatus | None:
    """What the folder says; None if it holds no run (or a torn start of one)."""
    content = read_json(RunFolder(run_dir).status)
    if content is None:
        return None
    known = {f.name for f in fields(RunStatus)}
    status = RunStatus(**{k: v for k, v in content.items() if k in known})
    return replace(status, state=State(status.state))


def write_status(run_dir: Path, status: RunStatus) -> RunStatus:
    """Replace status.json in one step; returns what was written."""
    replace_file(RunFolder(run_dir).status, json.dumps(asdict(status), indent=1), durable=False)
    return status


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
    """The Slurm job that the run was last submitted as; None for a run of no job, or the copy of one."""
    content = read_json(RunFolder(run_dir).job) or {}
    known = {f.name: content[f.name] for f in fields(HoldingJob) if f.name in content}
    if not known.get("job_id"):
        return None
    holder = HoldingJob(**known)
    root = RunFolder(run_dir.resolve()).root.path
    return holder if not holder.folder or Path(holder.folder).resolve().is_relative_to(root) else None


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
        replace_file(RunFolder(run_dir).job, json.dumps(asdict(job)), durable=False)
    else:
        (RunFolder(run_dir).job).unlink(missing_ok=True)


def worker_lock(run_dir: Path) -> FolderLock:
    """Held by the one process that executes the run."""
    return RunFolder(run_dir).worker_lock


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
