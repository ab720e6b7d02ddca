"""A multirun of Hydra: from override lists to results."""

from __future__ import annotations

from collections.abc import Sequence

from hydra.core.utils import JobReturn, JobStatus

from webshop_rl.errors import UserError
from webshop_rl.launching.runs.compose import ComposedRun, Composer
from webshop_rl.launching.runs.results import objective
from webshop_rl.launching.runs.state import GOING, State
from webshop_rl.launching.sweeps.execute import Outcome, execute_sweep
from webshop_rl.launching.sweeps.manifest import sweep_name
from webshop_rl.launching.sweeps.sweep import sweep_of

# What all runs of a sweep share, and why.
_SHARED = {
    "hardware": "one launcher serves the whole sweep, with one kind of hardware",
    "root": "runs in another root cannot be compared here",
    "tracking": "the sweep has one parent run in one tracker",
    "experiment_name": "the sweep has one parent run in one experiment",
    "sweep": "it says how the sweep itself is dispatched",
    "retry": "it says what becomes of runs that exist",
    "rerun": "it says what becomes of runs that exist",
    "on_code_change": "it says what becomes of runs that exist",
}


class RunError(Exception):
    """Why a run of a sweep has no objective, in one line.

    Args:
        message: the line.
        exit_code: what the command ends with because of it.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def run_sweep(composer: Composer, overrides: Sequence[Sequence[str]]) -> list[JobReturn]:
    """Execute a grid; one JobReturn per override list, in order.

    Args:
        composer: composes each run.
        overrides: of each run; lists that come to the same run execute it once.
    Raises: UserError before anything was started, if the input is bad.
    """
    composed = [composer.run(run) for run in overrides]
    for key, why in _SHARED.items():
        if any(run.config[key] != composed[0].config[key] for run in composed):
            raise UserError("cannot be swept over", where=key, remedy=why)
    outcomes = execute_sweep(sweep_of(composed[0], _name_by_command(composer)), composed)
    return [_job_return(run, outcome) for run, outcome in zip(composed, outcomes, strict=True)]


def exit_code(jobs: Sequence[JobReturn]) -> int:
    """Of the command: 0, 1 if a run failed, 128 + signal if the sweep was interrupted."""
    codes = [getattr(job._return_value, "exit_code", 1) for job in jobs if job.status == JobStatus.FAILED]
    return max(codes, default=0)


def _name_by_command(composer: Composer) -> str:
    hydra = composer.master.hydra
    params = dict(hydra.sweeper.get("params") or {})
    return sweep_name(list(hydra.overrides.task), {str(k): str(v) for k, v in params.items()})


def _job_return(run: ComposedRun, outcome: Outcome) -> JobReturn:
    job = JobReturn(overrides=list(run.overrides), working_dir=str(outcome.folder), task_name="launch")
    state = outcome.status.state
    if outcome.dry or state in GOING:
        job.status, job.return_value = JobStatus.COMPLETED, None  # nobody waits for it
    elif state == State.FINISHED:
        job.status, job.return_value = JobStatus.COMPLETED, objective(outcome.folder)
    else:
        why = outcome.status.error or "did not run"
        job.status = JobStatus.FAILED
        job.return_value = RunError(f"{outcome.folder.name}: {why}", outcome.stopped_by or 1)
    return job
