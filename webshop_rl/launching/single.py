"""One run in this process: the same plan, folder and status as a run of a sweep."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from webshop_rl.errors import UserError
from webshop_rl.launching.code import code_digest
from webshop_rl.launching.comparison import objective
from webshop_rl.launching.compose import ComposedRun, freeze
from webshop_rl.launching.config import HardwareConfig
from webshop_rl.launching.folder import RESULT, read_json
from webshop_rl.launching.plan import Action, Planned, Wishes, plan
from webshop_rl.launching.prepare import prepare
from webshop_rl.launching.run_status import observe, planning
from webshop_rl.launching.slots import local_slots
from webshop_rl.launching.worker import Interrupted, LeftAlone, RunFailed, execute
from webshop_rl.tracking.config import resolve
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
    config = composed.config
    root = Path(config["root"])
    check_tracker(
        resolve(OmegaConf.create(config["tracking"]), root=root, experiment=config["experiment_name"])
    )
    with planning(root):
        planned = _plan(root, composed)
        if planned.executes:
            prepare(composed, planned, sweep=None)
    console = Console()
    if planned.action == Action.SKIP:
        return _show_finished(planned, console)
    verb = "resumes" if planned.action == Action.RESUME else "starts"
    console.print(f"run {planned.run} {verb}: {planned.folder}", highlight=False, soft_wrap=True)
    slot = local_slots(HardwareConfig(**config["hardware"]), 1)[0]
    os.environ.update(slot.environment())
    try:
        return execute(planned.folder)
    except Interrupted as stopped:
        print(f"{stopped}; the same command resumes it", file=sys.stderr)
        raise SystemExit(stopped.exit_code) from None
    except RunFailed as failed:
        # Its traceback is printed and in the run's folder; Hydra would print it once more.
        print(f"failed: {failed}", file=sys.stderr)
        raise SystemExit(1) from None
    except LeftAlone as busy:
        raise _in_other_hands(str(busy)) from None


def _plan(root: Path, composed: ComposedRun) -> Planned:
    config = composed.config
    planned = plan(
        root,
        composed.signature,
        code=code_digest(),
        wishes=Wishes(config["retry"], config["rerun"], config["on_code_change"]),
        observe=lambda folder: observe(root, folder),
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
