"""Jobs as squeue shows them, and the note in a run's folder of the job that it was submitted as."""

from __future__ import annotations

import json
import math
import re
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.slurm import submitit_adapter
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder

# Slurm shows these while it is about to run the job again.
_PASSING_STATES = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL")
_PASSING_S = 60.0
_OVER_STATES = (
    *_PASSING_STATES,
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "OUT_OF_MEMORY",
    "TIMEOUT",
    "REVOKED",
)
# What Slurm's commands say while the controller is away: worth another try.
_AWAY = re.compile(
    r"unable to contact slurm controller|timed out|connection failure|connect failure|connection refused"
    r"|connection reset|zero bytes were transmitted|standby mode|temporarily unable|unexpected message",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Job:
    """One job (or array task) as squeue shows it.

    Attributes:
        state: Slurm's extended state, e.g. PENDING.
        node: where it runs, "" if nowhere.
        left: time left, in Slurm's notation.
        reason: why it waits, "" if Slurm does not say.
        ended: seconds since 1970, of a job that is over.
        seen: when squeue said all this, seconds since 1970.
    """

    state: str
    node: str = ""
    left: str = ""
    reason: str = ""
    ended: float = 0.0
    seen: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether it is in the queue to be started, for the first time or again."""
        return self.state in (
            "PENDING",
            "REQUEUED",
            "REQUEUE_FED",
            "REQUEUE_HOLD",
            "SPECIAL_EXIT",
            "CONFIGURING",
        )

    @property
    def held(self) -> bool:
        """Whether Slurm keeps it back after a failed start, on a node that had not got rid of it, say."""
        return self.waits and (self.state == "REQUEUE_HOLD" or "requeued held" in self.reason)

    @property
    def over(self) -> bool:
        """Whether it has ended for good.

        A state that Slurm may yet take back counts after a minute; a job that Slurm has forgotten is over.
        """
        if self.state in _PASSING_STATES:
            return bool(self.ended) and self.seen - self.ended > _PASSING_S
        return self.state in _OVER_STATES or self.forgotten

    @property
    def forgotten(self) -> bool:
        """Whether Slurm no longer knows it (MinJobAge, five minutes after its end, say)."""
        return not self.state


class Jobs:
    """The user's jobs at one moment; `get` of a job that Slurm no longer knows is an ended one.

    Args:
        known: by id; None if the controller did not answer.
        asked: when, seconds since 1970.
        problem: what it said instead.
    """

    def __init__(self, known: dict[str, Job] | None, *, asked: float = math.inf, problem: str = "") -> None:
        self._known = known
        self._asked = asked
        self.problem = problem

    @property
    def reachable(self) -> bool:
        """Whether the controller answered."""
        return self._known is not None

    @property
    def away(self) -> bool:
        """Whether there is a controller that may answer another time."""
        return self._known is None and is_away(self.problem)

    def get(self, job_id: str, *, submitted: float = 0.0) -> Job | None:
        """The job; None if the controller did not answer, or was asked before the job was submitted."""
        if self._known is None or submitted >= self._asked:
            return None
        return self._known.get(job_id, Job("", ended=1.0))


def parse_squeue(text: str, *, seen: float = 0.0) -> dict[str, Job]:
    """Jobs by id (`123`, or `123_4` for an array task), as they were when they were seen."""
    jobs = {}
    for line in text.splitlines():
        cells = line.split("|", 5)
        if len(cells) == 6:
            job_id, state, node, left, end, reason = cells
            ended = _seconds(end) if state in _OVER_STATES else 0.0
            jobs[job_id] = Job(state, node, left, "" if reason == "None" else reason, ended, seen)
    return jobs


def is_away(problem: str) -> bool:
    """Whether what a command of Slurm's printed says that the controller is away for the moment."""
    return _AWAY.search(problem) is not None


@dataclass(frozen=True)
class SubmittedJob:
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
    def stderr(self) -> Path:
        """What the job's script and its first process print on stderr."""
        return submitit_adapter.stderr_file(Path(self.folder), self.job_id)


def submitted_job(run: RunFolder) -> SubmittedJob | None:
    """The job that the run was last submitted as; None for a run of no job, or the copy of one."""
    content = read_json(run.job) or {}
    known = {f.name: content[f.name] for f in fields(SubmittedJob) if f.name in content}
    if not known.get("job_id"):
        return None
    job = SubmittedJob(**known)
    root = RunFolder(run.path.resolve()).root.path
    return job if not job.folder or Path(job.folder).resolve().is_relative_to(root) else None


def job_id_of(run: RunFolder) -> str:
    """Id of that job, "" for a run of no job."""
    job = submitted_job(run)
    return job.job_id if job else ""


def note_job(run: RunFolder, job_id: str, folder: Path) -> None:
    """Note the job that a run was submitted as: beside status.json, which the run itself writes."""
    job = SubmittedJob(job_id, time.time(), str(folder))
    replace_file(run.job, json.dumps(asdict(job)), durable=False)


def minutes(limit: str) -> int:
    """A time limit in Slurm's notation (MIN, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS), rounded up.

    Raises: UserError if it is not one.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if found is None:
        raise UserError(
            f"{limit!r} is not a time limit",
            where="hardware.slurm.time",
            remedy="e.g. 04:00:00 or 2-00:00:00",
        )
    days, *rest = found.groups()
    numbers = [int(part) for part in rest if part is not None]
    if days is not None:
        hours, mins, secs = [*numbers, 0, 0][:3]
        total = ((int(days) * 24 + hours) * 60 + mins) * 60 + secs
    elif len(numbers) == 3:
        total = (numbers[0] * 60 + numbers[1]) * 60 + numbers[2]
    else:
        total = numbers[0] * 60 + (numbers[1] if len(numbers) == 2 else 0)
    return max(1, -(-total // 60))


def _seconds(end: str) -> float:
    try:
        return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
