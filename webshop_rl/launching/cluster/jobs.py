"""Jobs as squeue shows them."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

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


def _seconds(end: str) -> float:
    try:
        return time.mktime(time.strptime(end, "%Y-%m-%dT%H:%M:%S"))
    except ValueError:
        return 0.0
