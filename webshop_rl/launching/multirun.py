"""A multirun of Hydra: from override lists to results."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus
from rich.console import Console
from rich.progress import track

from webshop_rl.config.walk import facts_of, walk
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun, Composer
from webshop_rl.launching.execute import Outcome, execute_sweep
from webshop_rl.launching.manifest import sweep_name
from webshop_rl.launching.progress import objective
from webshop_rl.launching.sweep import sweep_of
from webshop_rl.storage.run_status import GOING, State

# Fewer are checked in a second.
_MANY = 100


class RunError(Exception):
    """Why a run of a sweep has no objective, in one line.

    Args:
        message: the line.
        exit_code: what the command ends with because of it.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_sweep(
    composer: Composer, overrides: Sequence[Sequence[str]], grid: Sequence[Sequence[str]] = ()
) -> list[JobReturn]:
    """Execute a grid; one JobReturn per override list, in order.

    Args:
        composer: composes each run.
        overrides: of each run; lists that come to the same run execute it once.
        grid: the whole sweep's, of which `overrides` may be a part; those if empty.
    Raises: UserError before anything was started, if the input is bad.
    """
    every = dict.fromkeys(tuple(run) for run in (*grid, *overrides))
    # Shows how far it is on a terminal only, and leaves nothing there.
    watched = track(
        every, "checking runs", transient=True, console=Console(stderr=True), disable=len(every) < _MANY
    )
    composed = {run: composer.run(run) for run in watched}
    runs = list(composed.values())
    shared = _one_a_sweep(runs[0])
    for run in runs[1:]:
        if differing := sorted(_one_a_sweep(run) ^ shared):
            key = differing[0][0]
            raise UserError("cannot be swept over", where=key, remedy=facts_of(key).one_a_sweep)
    mine = [composed[tuple(run)] for run in overrides]
    outcomes = execute_sweep(sweep_of(mine[0], sweep_name(runs)), mine)
    return [_job_return(run, outcome) for run, outcome in zip(mine, outcomes, strict=True)]


def exit_code(jobs: Sequence[JobReturn]) -> int:
    """Of the command: 0, 1 if a run failed, 128 + signal if the sweep was interrupted."""
    codes = [getattr(job._return_value, "exit_code", 1) for job in jobs if job.status == JobStatus.FAILED]
    return max(codes, default=0)


def _one_a_sweep(run: ComposedRun) -> set[tuple[str, str]]:
    """Keys in which the runs of a sweep may not differ, with their values."""
    return {(key.name, repr(key.value)) for key in walk(run.config) if key.facts.one_a_sweep}


def _job_return(run: ComposedRun, outcome: Outcome) -> JobReturn:
    job = JobReturn(overrides=list(run.overrides), working_dir=str(outcome.folder.path), task_name="launch")
    state = outcome.status.state
    # What goes on is nobody's failure, unless this command was interrupted while it waited.
    if outcome.dry or (state in GOING and not outcome.stopped_by):
        job.status = JobStatus.COMPLETED
        job.return_value = None
    elif state == State.FINISHED:
        job.status = JobStatus.COMPLETED
        job.return_value = objective(outcome.folder)
    else:
        why = outcome.status.error or ("left alone" if state in GOING else "did not run")
        job.status = JobStatus.FAILED
        job.return_value = RunError(f"{outcome.folder.name}: {why}", outcome.stopped_by or 1)
    return job
