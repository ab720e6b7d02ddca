"""Queries and commands to Slurm, through squeue, scontrol and scancel alone.

sacct is not used: without slurmdbd it does not exist, and what it would add (how a job ended that
reported nothing) the job's own script writes into the run's folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.errors import UserError
from webshop_rl.launching.slurm.jobs import Jobs, job_id_of, parse_squeue
from webshop_rl.storage.folders import RunFolder

_TIMEOUT_S = 30.0
_FORMAT = "%i|%T|%N|%L|%e|%r"
_DEFAULT_ARRAY_SIZE = 1001
_POLL_MIN_S, _POLL_MAX_S = 2.0, 15.0


def query_jobs() -> Jobs:
    """All jobs of this user that Slurm remembers; not reachable without squeue or its controller."""
    if shutil.which("squeue") is None:
        return Jobs(None)
    asked = time.time()
    answer = _run(["squeue", "-h", "-r", "-t", "all", "-u", str(os.getuid()), "-o", _FORMAT])
    known = parse_squeue(answer.output, seen=asked) if answer.ok else None
    return Jobs(known, asked=asked, problem=answer.problem)


def jobs_of(runs: Iterable[RunFolder], ask: Callable[[], Jobs] = query_jobs) -> Jobs:
    """Slurm's view of the jobs if any of the runs is one; else it is not asked, for it may be slow."""
    now = time.time()
    return ask() if any(job_id_of(run) for run in runs) else Jobs({}, asked=now)


def jobs_of_scripts_in(folders: Collection[Path]) -> list[str]:
    """Ids of the jobs that wait or run and whose script lies in one of these folders.

    Raises: UserError if the controller does not answer.
    """
    answer = _run(["squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i|%o"])
    if not answer.ok:
        raise UserError(answer.problem, where="squeue", remedy="is the controller up?")
    rows = [line.split("|", 1) for line in answer.output.splitlines() if "|" in line]
    return [job_id for job_id, script in rows if Path(script).parent in folders]


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


class JobsWatch:
    """The jobs as they were a moment ago; polled every 2-15 s, the longer it goes on the less often."""

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


@dataclass(frozen=True)
class _Answer:
    """What a command printed; if it failed, the last line of its stderr."""

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
