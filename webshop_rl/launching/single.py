"""One run in this process: the same plan, folder and status as a run of a sweep."""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from webshop_rl.cli import invocation
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun, freeze
from webshop_rl.launching.launchers import planning
from webshop_rl.launching.local import local_slots
from webshop_rl.launching.log import logged
from webshop_rl.launching.plan import Action, Entry, Planned, plan_launch
from webshop_rl.launching.prepare import prepare
from webshop_rl.launching.progress import objective
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.sweep import Sweep, sweep_of
from webshop_rl.launching.views import print_log
from webshop_rl.launching.worker import Interrupted, LeftAlone, RunFailed, execute
from webshop_rl.storage.files import read_json
from webshop_rl.storage.run_status import RunStatus, State
from webshop_rl.tracking.prepare import check_tracker


def run_single(cfg: DictConfig, overrides: Sequence[str], chosen: Mapping[str, str] | None = None) -> float:
    """Execute, resume or skip one run; its objective. A run that another command executes is waited for.

    Args:
        cfg: composed and valid.
        overrides: as given on the command line.
        chosen: options of the config groups, as far as they are known.
    Raises: UserError before anything was started if the input is bad, or the run failed before and
        no retry is asked for; SystemExit(1) if it failed, after its traceback; SystemExit(128 + signal)
        if it was stopped.
    """
    composed = freeze(cfg, overrides, chosen)
    sweep = sweep_of([composed], f"run-{composed.signature}")
    if sweep.executor == "slurm" or sweep.config.sweep.dry_run:
        return _as_sweep_of_one(sweep, composed)
    check_tracker(sweep.tracking)
    slot = local_slots(sweep.config.hardware, 1)[0]
    with planning(sweep.root):
        entry = _plan(sweep, composed)
        planned = entry.planned
        if planned.executes:
            prepare(entry, sweep=None, code=sweep.code)
    console = Console(markup=False)
    if planned.action == Action.SKIP:
        return _show_finished(planned, console)
    if planned.action == Action.LEAVE:
        return _wait_for_other(planned, console)
    verb = "resumes" if planned.action == Action.RESUME else "starts"
    console.print(f"run {planned.run} {verb}: {planned.folder.path}", highlight=False, soft_wrap=True)
    if planned.shorter is not None:
        console.print(planned.shorter.describe(), highlight=False, soft_wrap=True)
    os.environ.update(slot.environment())
    try:
        with logged(planned.folder, screen=True):
            reached = _execute(planned)
    except LeftAlone:
        return _wait_for_other(planned, console)
    _show_next(planned, console)
    return reached


def _execute(planned: Planned) -> float:
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


def _wait_for_other(planned: Planned, console: Console) -> float:
    """Show what another process, launcher or job makes of the run, until that has ended.

    Returns: its objective.
    Raises: SystemExit(1) if it did not finish, SystemExit(130) at Ctrl-C, which leaves it alone.
    """
    status = observe(planned.folder) or RunStatus()
    place = f" on {status.host}" if status.host and status.state == State.RUNNING else ""
    console.print(
        f"run {planned.run} is {status.state}{place} already: waiting for it (Ctrl-C leaves it alone)",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    try:
        print_log(planned.folder, follow=True)
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    status = observe(planned.folder) or RunStatus()
    if status.state == State.FINISHED:
        return _show_finished(planned, console)
    print(f"{status.state}: {planned.run}: {status.error}; the same command goes on", file=sys.stderr)
    raise SystemExit(1)


def _as_sweep_of_one(sweep: Sweep, composed: ComposedRun) -> float:
    """Hand the run to Slurm; nan if it has no objective yet."""
    from webshop_rl.launching.execute import execute_sweep  # a run in this process needs nothing of it

    outcome = execute_sweep(sweep, [composed])[0]
    if outcome.exit_code:
        raise SystemExit(outcome.exit_code)
    return math.nan if outcome.objective is None else outcome.objective


def _plan(sweep: Sweep, composed: ComposedRun) -> Entry:
    entry = plan_launch(sweep, [composed], observe)[0]
    planned = entry.planned
    if planned.action == Action.KEEP_FAILED:
        assert planned.status is not None
        raise UserError(
            f"run {planned.run} failed before: {planned.status.error}",
            where=str(planned.folder.path),
            remedy="retry=true runs it again",
        )
    return entry


def _show_finished(planned: Planned, console: Console) -> float:
    from webshop_rl.evaluation.ending import ending_lines
    from webshop_rl.evaluation.tables import result_table

    console.print(
        f"run {planned.run} is finished (rerun=true runs it afresh): {planned.folder.path}", soft_wrap=True
    )
    result = read_json(planned.folder.result) or {}
    if result.get("main_minus"):
        console.print(result_table(result, width=console.width))
        for line in ending_lines(result):
            console.print(f"warning: {line}", highlight=False, soft_wrap=True)
    elif result.get("trained_minus"):
        console.print("its result.json is of an older format: the table is in MLflow and in its log")
    _show_next(planned, console)
    return objective(planned.folder) or 0.0


def _show_next(planned: Planned, console: Console) -> None:
    """Where the result is, and the commands that show more of it."""
    run = planned.folder
    root = run.root.path
    options = "" if root == Path("runs").resolve() else f" --root {shlex.quote(str(root))}"
    overrides = "" if not options else f" root={shlex.quote(str(root))}"
    program = invocation()
    lines = {
        "result": f"{run.result}",
        "log": f"{run.log}",
        "episodes": f"{program} evaluate {planned.run} --watch 3{overrides}",
        "report": f"{program} report --run {planned.run}{options}",
        "MLflow": f"{program} ui{options}",
    }
    for what, line in lines.items():
        console.print(f"{what:9} {line}", highlight=False, soft_wrap=True)
