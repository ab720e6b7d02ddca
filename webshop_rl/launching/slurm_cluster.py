"""What Slurm says about jobs, and what we ask of it; through squeue, scontrol and scancel alone.

sacct is not used: without slurmdbd it does not exist, and what it would add (how a job ended that
left no word) the job's own script writes into the run's folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from webshop_rl.errors import UserError

_TIMEOUT_S = 60.0
_POLL_MIN_S, _POLL_MAX_S = 2.0, 15.0
_FORMAT = "%i|%T|%N|%L|%e|%r"
_DEFAULT_ARRAY_SIZE = 1001
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


@dataclass(frozen=True)
class Job:
    """One job (or array task) as squeue shows it.

    Attributes:
        state: Slurm's extended state, e.g. PENDING.
        node: where it runs, "" if nowhere.
        left: time left, in Slurm's notation.
        reason: why it waits, "" if Slurm does not say.
        ended: seconds since 1970, of a job that is over.
    """

    state: str
    node: str = ""
    left: str = ""
    reason: str = ""
    ended: float = 0.0

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
        """Whether it has ended for good; a state that Slurm may yet take back counts after a minute."""
        if self.state in _PASSING_STATES:
            return bool(self.ended) and time.time() - self.ended > _PASSING_S
        return self.state in _OVER_STATES


class Jobs:
    """The user's jobs at one moment; `get` of a job that Slurm no longer knows is an ended one."""

    def __init__(self, known: dict[str, Job] | None) -> None:
        self._known = known

    @property
    def reachable(self) -> bool:
        """Whether the controller answered."""
        return self._known is not None

    def get(self, job_id: str) -> Job | None:
        """The job, or None if the controller did not answer."""
        if self._known is None:
            return None
        return self._known.get(job_id, Job("", ended=1.0))


class JobsWatch:
    """The jobs as they were a moment ago; asked for more and more seldom as time goes on."""

    def __init__(self) -> None:
        self._began = self._next = time.monotonic()
        self._latest = Jobs(None)

    def latest(self) -> Jobs:
        """Slurm's answer of at most a few seconds ago; its last one while the controller is away."""
        now = time.monotonic()
        if now >= self._next:
            answer = query_jobs()
            self._latest = answer if answer.reachable else self._latest
            self._next = time.monotonic() + min(max((now - self._began) / 20, _POLL_MIN_S), _POLL_MAX_S)
        return self._latest


def query_jobs() -> Jobs:
    """All jobs of this user that Slurm remembers; not reachable without squeue or its controller."""
    if shutil.which("squeue") is None:
        return Jobs(None)
    answer = _run(["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", _FORMAT])
    return Jobs(None if answer is None else parse_squeue(answer))


def parse_squeue(text: str) -> dict[str, Job]:
    """Jobs by id (`123`, or `123_4` for an array task)."""
    jobs = {}
    for line in text.splitlines():
        cells = line.split("|", 5)
        if len(cells) == 6:
            job_id, state, node, left, end, reason = cells
            ended = _seconds(end) if state in _OVER_STATES else 0.0
            jobs[job_id] = Job(state, node, left, "" if reason == "None" else reason, ended)
    return jobs


def max_array_size() -> int:
    """The largest array the cluster takes."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", _run(["scontrol", "show", "config"]) or "")
    return int(found.group(1)) if found else _DEFAULT_ARRAY_SIZE


def job_state(job_id: str) -> str:
    """State of one job right now, "" if Slurm does not say."""
    answer = _run(["squeue", "-h", "-r", "-o", "%T", "-j", job_id]) or ""
    return answer.split()[0] if answer.split() else ""


def requeue(job_id: str) -> bool:
    """Put a running job back into the queue; it is killed and starts again later."""
    return _run(["scontrol", "requeue", job_id]) is not None


def release(job_id: str) -> bool:
    """Let a held job wait for its turn again; where Slurm forbids it, an administrator must."""
    return _run(["scontrol", "release", job_id]) is not None


def cancel(job_ids: Iterable[str]) -> None:
    """Cancel jobs; those that run get SIGTERM first.

    Raises: UserError if Slurm refuses.
    """
    ids = sorted(set(job_ids))
    for k in range(0, len(ids), 500):  # a command line has its limits
        if _run(["scancel", *ids[k : k + 500]]) is None:
            raise UserError("scancel failed", where=", ".join(ids[:3]), remedy="is the controller up?")


def compact(job_ids: Collection[str]) -> list[str]:
    """The ids of whole jobs that array tasks belong to."""
    return sorted({job_id.partition("_")[0] for job_id in job_ids})


def minutes(limit: str) -> int:
    """A time limit in Slurm's notation (MIN, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS), rounded up.

    Raises: UserError if it is none.
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", limit.strip())
    if found is None:
        raise UserError(
            f"{limit!r} is no time limit", where="hardware.time", remedy="e.g. 04:00:00 or 2-00:00:00"
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


def _run(command: Sequence[str]) -> str | None:
    """Its output, or None if it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
