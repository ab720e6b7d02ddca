"""What Slurm says about jobs, and what we ask of it; through squeue, scontrol and scancel alone.

sacct is not used: without slurmdbd it does not exist, and what it would add (how a job ended that
left no word) the job's own script writes into the run's folder.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.errors import UserError

_TIMEOUT_S = 30.0
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
        self._known, self._asked, self.problem = known, asked, problem

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


class JobsWatch:
    """The jobs as they were a moment ago; asked for more and more seldom as time goes on."""

    def __init__(self) -> None:
        self._began = self._next = time.monotonic()
        self._latest = Jobs(None)
        self.problem = ""

    def latest(self) -> Jobs:
        """Slurm's answer of at most a few seconds ago; its last one while `problem` says it is away."""
        now = time.monotonic()
        if now >= self._next:
            answer = query_jobs()
            self.problem = answer.problem
            self._latest = answer if answer.reachable else self._latest
            self._next = time.monotonic() + min(max((now - self._began) / 20, _POLL_MIN_S), _POLL_MAX_S)
        return self._latest


def query_jobs() -> Jobs:
    """All jobs of this user that Slurm remembers; not reachable without squeue or its controller."""
    if shutil.which("squeue") is None:
        return Jobs(None)
    asked = time.time()
    answer = _run(["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", _FORMAT])
    known = parse_squeue(answer.output, seen=asked) if answer.ok else None
    return Jobs(known, asked=asked, problem=answer.problem)


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


def jobs_of_scripts_in(folders: Collection[Path]) -> list[str]:
    """Ids of the jobs that wait or run and whose script lies in one of these folders.

    Raises: UserError if the controller does not answer.
    """
    answer = _run(["squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i|%o"])
    if not answer.ok:
        raise UserError(answer.problem, where="squeue", remedy="is the controller up?")
    rows = [line.split("|", 1) for line in answer.output.splitlines() if "|" in line]
    return [job_id for job_id, script in rows if Path(script).parent in folders]


def is_away(problem: str) -> bool:
    """Whether what a command of Slurm's printed says that the controller is away for the moment."""
    return _AWAY.search(problem) is not None


def max_array_size() -> int:
    """The largest array the cluster takes; 1 if it takes none."""
    config = _run(["scontrol", "show", "config"]).output
    # The second is a setting among SchedulerParameters.
    limits = re.findall(r"(?:MaxArraySize\s*=\s*|max_array_tasks=)(\d+)", config)
    return max(1, min(map(int, limits), default=_DEFAULT_ARRAY_SIZE))


def job_state(job_id: str) -> str:
    """State of one job right now, "" if Slurm does not say."""
    answer = _run(["squeue", "-h", "-r", "-o", "%T", "-j", job_id]).output
    return answer.split()[0] if answer.split() else ""


def requeue(job_id: str) -> bool:
    """Put a job back into the queue, a running one (which is killed) or one that has ended."""
    return _run(["scontrol", "requeue", job_id]).ok


def release(job_id: str) -> bool:
    """Let a held job wait for its turn again; where Slurm forbids it, an administrator must."""
    return _run(["scontrol", "release", job_id]).ok


def cancel(job_ids: Iterable[str]) -> None:
    """Cancel jobs; those that run get SIGTERM first.

    Raises: UserError if Slurm refuses.
    """
    ids = sorted(set(job_ids))
    for k in range(0, len(ids), 500):  # a command line has its limits
        answer = _run(["scancel", *ids[k : k + 500]])
        if not answer.ok:
            raise UserError(answer.problem, where="scancel", remedy="is the controller up?")


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


@dataclass(frozen=True)
class _Answer:
    """What a command printed; if it failed, the last line of what it complained of."""

    output: str = ""
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def _run(command: Sequence[str]) -> _Answer:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return _Answer(problem=f"{command[0]} timed out after {_TIMEOUT_S:g} s")
    except OSError as error:
        return _Answer(problem=f"{command[0]}: {error.strerror}")
    if done.returncode == 0:
        return _Answer(done.stdout)
    lines = done.stderr.strip().splitlines()
    return _Answer(problem=lines[-1] if lines else f"{command[0]} failed with exit code {done.returncode}")
