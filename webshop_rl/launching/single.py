"""One run in this process: the same plan, folder and status as a run of a sweep."""

from __future__ import annotations

import math
import os
import sys

from omegaconf import DictConfig
from rich.console import Console

from webshop_rl.errors import UserError
from webshop_rl.launching.local.slots import local_slots
from webshop_rl.launching.runs.compose import ComposedRun, freeze
from webshop_rl.launching.runs.folder import RESULT
from webshop_rl.launching.runs.observe import observe
from webshop_rl.launching.runs.plan import Action, Planned, plan
from webshop_rl.launching.runs.prepare import prepare
from webshop_rl.launching.runs.presence import planning
from webshop_rl.launching.runs.reference_returns import check_reference_returns
from webshop_rl.launching.runs.results import objective
from webshop_rl.launching.runs.state import State
from webshop_rl.launching.runs.worker import Interrupted, LeftAlone, RunFailed, execute
from webshop_rl.launching.sweeps.execute import execute_sweep
from webshop_rl.launching.sweeps.sweep import Sweep, sweep_of
from webshop_rl.source import acting_code_digest
from webshop_rl.storage.files import read_json
from webshop_rl.tracking.prepare import check_tracker


def run_single(cfg: DictConfig) -> float:
    """Execute, resume or skip one run; its objective.

    Args:
        cfg: composed and valid.
    Raises: UserError before anything was started if the input is bad, or the run failed before and
        no retry is asked for; SystemExit(1) if it failed, after its traceback; SystemExit(130) if it
        was stopped.
    """
    composed = freeze(cfg)
    sweep = sweep_of(composed, f"run-{composed.signature}")
    if sweep.executor == "slurm" or sweep.settings.dry_run:
        return _as_sweep_of_one(sweep, composed)
    check_tracker(sweep.tracking)
    with planning(sweep.root):
        planned = _plan(sweep, composed)
        check_reference_returns(
            sweep.root,
            [(composed, planned)],
            code=acting_code_digest(sweep.source),
            on_code_change=sweep.wishes.on_code_change,
        )
        if planned.executes:
            prepare(composed, planned, sweep=None, code=sweep.code)
    console = Console(markup=False)
    if planned.action == Action.SKIP:
        return _show_finished(planned, console)
    verb = "resumes" if planned.action == Action.RESUME else "starts"
    console.print(f"run {planned.run} {verb}: {planned.folder}", highlight=False, soft_wrap=True)
    slot = local_slots(sweep.hardware, 1)[0]
    os.environ.update(slot.environment())
    try:
        return execute(planned.folder)
    except Interrupted as stopped:
        print(f"{stopped}; the same command resumes it", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    except RunFailed as failed:
        # Its error is printed; Hydra would print it once more.
        if not isinstance(failed.__cause__, UserError):
            print(f"failed: {failed}", file=sys.stderr)
        raise SystemExit(1) from None
    except LeftAlone as busy:
        raise _in_other_hands(str(busy)) from None


def _as_sweep_of_one(sweep: Sweep, composed: ComposedRun) -> float:
    """Hand the run to Slurm; nan if it has no objective yet."""
    outcome = execute_sweep(sweep, [composed])[0]
    if outcome.status.state in (State.FAILED, State.INTERRUPTED):
        raise SystemExit(outcome.stopped_by or 1)
    reached = objective(outcome.folder)
    return math.nan if reached is None else reached


def _plan(sweep: Sweep, composed: ComposedRun) -> Planned:
    planned = plan(
        sweep.root,
        composed.signature,
        code=sweep.code,
        wishes=sweep.wishes,
        observe=lambda folder: observe(sweep.root, folder),
    )
    if planned.action == Action.KEEP_FAILED:
        assert planned.status is not None
        raise UserError(
            f"run {planned.run} failed before: {planned.status.error}",
            where=str(planned.folder),
            remedy="retry=true runs it again",
        )
    if planned.action == Action.LEAVE:
        assert planned.status is not None
        place = f"on {planned.status.host}" if planned.status.host else "in a queue"
        raise _in_other_hands(f"run {planned.run} is {planned.status.state} {place}")
    return planned


def _in_other_hands(what: str) -> UserError:
    return UserError(what, where="run", remedy="wait for it, or see python -m webshop_rl.launching.status")


def _show_finished(planned: Planned, console: Console) -> float:
    from webshop_rl.training.display import result_table

    console.print(
        f"run {planned.run} is finished (rerun=true runs it afresh): {planned.folder}", soft_wrap=True
    )
    console.print(result_table(read_json(planned.folder / RESULT) or {}))
    return objective(planned.folder) or 0.0
