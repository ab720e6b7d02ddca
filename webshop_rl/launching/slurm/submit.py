"""Hands jobs to sbatch: waits for a controller that is away, and leaves no job behind that nobody knows."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from submitit import SlurmExecutor

from webshop_rl.errors import UserError
from webshop_rl.launching.cluster.commands import cancel, jobs_of_scripts_in, query_jobs
from webshop_rl.launching.cluster.jobs import Jobs, is_away
from webshop_rl.launching.stop import StopRequests

_AGAIN_S = 1.0
_GIVE_UP_S = 3600.0


def submit(
    executor: SlurmExecutor,
    tasks: Sequence[Callable[[], object]],
    *,
    folder: Path,
    noted: Collection[str],
    stop: StopRequests,
) -> list[str]:
    """Submit an array; the jobs' ids in the order of the tasks.

    Args:
        executor: with its parameters set.
        tasks: what the jobs execute.
        folder: of the executor, for this launch alone.
        noted: jobs of this launch that are known already.
        stop: a request ends the wait for a controller that is away.
    Raises: UserError if sbatch refuses, SystemExit at a request to stop.
    """
    while True:
        try:
            # sbatch's complaint is told once, by us.
            with _outside_of_any_job(), contextlib.redirect_stderr(io.StringIO()):
                return [job.job_id for job in executor.submit_array(tasks)]
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            if not is_away(lines[-1]):
                raise UserError(f"sbatch refused the jobs: {lines[-1]}", where="hardware") from error
        answering_controller(stop, lines[-1])
        withdraw([folder], noted)  # perhaps only its answer was lost, and the jobs are in the queue


def answering_controller(stop: StopRequests, problem: str = "") -> Jobs:
    """Slurm's view of the jobs, waited for while the controller is away.

    Args:
        stop: a request ends the wait.
        problem: what was said of it last, if it is known to be away.
    Raises: SystemExit at a request to stop; UserError after an hour.
    """
    deadline, told = time.monotonic() + _GIVE_UP_S, False
    while True:
        if problem and not told:
            told = True
            print(f"waiting for Slurm's controller, Ctrl-C gives up: {problem}", file=sys.stderr, flush=True)
        if problem and stop.count:
            raise SystemExit(stop.exit_code)
        jobs = query_jobs()
        if not jobs.away:
            return jobs
        problem = jobs.problem
        if time.monotonic() > deadline:
            raise UserError(problem, where="Slurm", remedy="launch again when its controller is back")
        time.sleep(_AGAIN_S)


def withdraw(folders: Collection[Path], noted: Collection[str]) -> None:
    """Cancel jobs that were submitted from these folders and that no run is known to be held by.

    A launcher that dies while it submits leaves such jobs, and so does an answer of sbatch that is lost.
    Raises: UserError if the controller does not answer.
    """
    cancel(set(jobs_of_scripts_in(folders)) - set(noted))


@contextlib.contextmanager
def _outside_of_any_job() -> Iterator[None]:
    """Without the variables of a job this process may be in, which sbatch takes for wishes."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("SLURM_", "SLURMD_")) and name != "SLURM_CONF":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)
