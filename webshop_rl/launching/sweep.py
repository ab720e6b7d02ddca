"""A multirun from override lists to results: plan, freeze, execute, compare."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from rich.console import Console

from webshop_rl.errors import UserError
from webshop_rl.launching.attend import Queue, attend
from webshop_rl.launching.code import code_digest, snapshot
from webshop_rl.launching.comparison import compare, objective
from webshop_rl.launching.compose import ComposedRun, Composer
from webshop_rl.launching.config import HardwareConfig, SweepConfig
from webshop_rl.launching.executors import resolve_executor
from webshop_rl.launching.folder import LOG, sweep_folder
from webshop_rl.launching.local import LocalQueue
from webshop_rl.launching.manifest import Listed, check_name, split_common, sweep_name, write_manifest
from webshop_rl.launching.plan import Planned, Wishes, plan_all
from webshop_rl.launching.prepare import prepare
from webshop_rl.launching.progress import read_progress
from webshop_rl.launching.record import record_sweep
from webshop_rl.launching.run_status import RunStatus, State, alive_as_launcher, observe, planning
from webshop_rl.launching.slots import local_slots
from webshop_rl.launching.stop import StopRequests
from webshop_rl.launching.table import RunView, SweepTable, duration
from webshop_rl.launching.worker import ENTRY
from webshop_rl.tracking.config import TrackingSettings, resolve
from webshop_rl.tracking.prepare import check_tracker

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


@dataclass(frozen=True)
class Sweep:
    """What the runs of a sweep share."""

    name: str
    root: Path
    hardware: HardwareConfig
    settings: SweepConfig
    tracking: TrackingSettings
    wishes: Wishes
    executor: str


@dataclass(frozen=True)
class Entry:
    """One distinct run of a sweep: what it is, and what is done with it."""

    composed: ComposedRun
    planned: Planned
    label: str


def run_sweep(
    composer: Composer, overrides: Sequence[Sequence[str]], *, entry: str = ENTRY
) -> list[JobReturn]:
    """Execute a grid; one JobReturn per override list, in order.

    Args:
        composer: composes each run.
        overrides: of each run; lists that come to the same run execute it once.
        entry: `module:function` that executes a run's folder and returns the objective.
    Raises: UserError before anything was started, if the input is bad.
    """
    began = time.monotonic()
    composed = [composer.run(run) for run in overrides]
    sweep = _shared(composer, composed)
    check_tracker(sweep.tracking)
    console = Console()
    with StopRequests() as stop, alive_as_launcher(sweep.root) as launcher:
        with planning(sweep.root):
            entries = _plan(sweep, composed)
            if sweep.settings.dry_run:
                _announce(console, sweep, entries, len(composed), time.monotonic() - began)
                return [_job_return(run, None, None, stop) for run in composed]
            queue = _queue(sweep, [e for e in entries if e.planned.executes], launcher, entry)
        _announce(console, sweep, entries, len(composed), time.monotonic() - began)
        with SweepTable(f"sweep {sweep.name}", console) as table:
            views = attend(
                queue,
                [e.planned for e in entries],
                lambda: look(sweep.root, entries),
                table,
                stop,
                refresh_s=sweep.settings.refresh_s,
            )
        _report(console, sweep, entries, views, time.monotonic() - began)
    found = {e.composed.signature: (e, v) for e, v in zip(entries, views, strict=True)}
    return [_job_return(run, *found[run.signature], stop) for run in composed]


def exit_code(jobs: Sequence[JobReturn]) -> int:
    """Of the command: 0, 1 if a run failed, 128 + signal if the sweep was interrupted."""
    codes = [getattr(job._return_value, "exit_code", 1) for job in jobs if job.status == JobStatus.FAILED]
    return max(codes, default=0)


def look(root: Path, entries: Sequence[Entry]) -> list[RunView]:
    """Each run as it stands."""
    views = []
    for entry in entries:
        status = observe(root, entry.planned.folder) or RunStatus()
        views.append(RunView(entry.planned.run, entry.label, status, read_progress(entry.planned.folder)))
    return views


def _shared(composer: Composer, composed: Sequence[ComposedRun]) -> Sweep:
    first = composed[0].config
    for key, why in _SHARED.items():
        if any(run.config[key] != first[key] for run in composed):
            raise UserError("cannot be swept over", where=key, remedy=why)
    hydra = composer.master.hydra
    params = OmegaConf.to_container(hydra.sweeper.get("params") or OmegaConf.create())
    assert isinstance(params, dict)
    settings = SweepConfig(**first["sweep"])
    hardware = HardwareConfig(**first["hardware"])
    root = Path(first["root"])
    named = settings.name or sweep_name(
        list(hydra.overrides.task), {str(k): str(v) for k, v in params.items()}
    )
    return Sweep(
        name=check_name(named),
        root=root,
        hardware=hardware,
        settings=settings,
        tracking=resolve(
            OmegaConf.create(first["tracking"]), root=root, experiment=str(first["experiment_name"])
        ),
        wishes=Wishes(first["retry"], first["rerun"], first["on_code_change"]),
        executor=resolve_executor(hardware, settings),
    )


def _plan(sweep: Sweep, composed: Sequence[ComposedRun]) -> list[Entry]:
    distinct = list({run.signature: run for run in composed}.values())
    planned = plan_all(
        sweep.root,
        [run.signature for run in distinct],
        code=code_digest(),
        wishes=sweep.wishes,
        observe=lambda folder: observe(sweep.root, folder),
    )
    common, own = split_common([run.overrides for run in distinct])
    if not sweep.settings.dry_run:
        listed = [Listed(p.run, c.signature, o) for p, c, o in zip(planned, distinct, own, strict=True)]
        write_manifest(sweep.root, sweep.name, listed, common)
    return [Entry(c, p, " ".join(o)) for c, p, o in zip(distinct, planned, own, strict=True)]


def _queue(sweep: Sweep, entries: Sequence[Entry], launcher: str, entry: str) -> Queue:
    """Freeze the runs and the code, and put the runs in line."""
    for chosen in entries:
        prepare(chosen.composed, chosen.planned, sweep=sweep.name)
    runs = [chosen.planned for chosen in entries]
    return LocalQueue(
        runs,
        local_slots(sweep.hardware, len(runs), pack=sweep.settings.pack) if runs else [],
        folder=sweep_folder(sweep.root, sweep.name) / "submitit",
        code=snapshot(sweep.root),
        launcher=launcher,
        restarts=sweep.hardware.restarts,
        entry=entry,
    )


def _announce(console: Console, sweep: Sweep, entries: Sequence[Entry], asked: int, seconds: float) -> None:
    actions = Counter(e.planned.action.value for e in entries)
    doing = ", ".join(f"{n} {action}" for action, n in actions.items())
    same = f" ({asked - len(entries)} of them twice)" if asked > len(entries) else ""
    what = "would be" if sweep.settings.dry_run else "planned"
    console.print(
        f"sweep {sweep.name}: {asked} runs{same} {what}: {doing}; {sweep.executor}, root {sweep.root}, "
        f"{seconds:.1f} s",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _report(
    console: Console, sweep: Sweep, entries: Sequence[Entry], views: Sequence[RunView], seconds: float
) -> None:
    folders = [e.planned.folder for e in entries]
    record_sweep(
        sweep.tracking,
        sweep.name,
        {f: (v.status.state, v.status.error) for f, v in zip(folders, views, strict=True)},
    )
    console.print(compare(views, folders, title=f"sweep {sweep.name}, {duration(seconds)}"))
    for view, folder in zip(views, folders, strict=True):
        if view.status.state in (State.FAILED, State.INTERRUPTED):
            log = folder / LOG
            print(
                f"{view.status.state} {view.run} {view.label}: {view.status.error} ({log})", file=sys.stderr
            )


def _job_return(run: ComposedRun, entry: Entry | None, view: RunView | None, stop: StopRequests) -> JobReturn:
    job = JobReturn(overrides=list(run.overrides), task_name="launch")
    job.status = JobStatus.COMPLETED
    if entry is None or view is None:
        return job
    job.working_dir = str(entry.planned.folder)
    status = view.status
    if status.state == State.FINISHED:
        job.return_value = objective(entry.planned.folder)
    elif status.state == State.FAILED:
        job.status, job.return_value = JobStatus.FAILED, RunError(f"{view.run}: {status.error}")
    elif status.state in (State.INTERRUPTED, State.PREPARED):
        error = RunError(f"{view.run}: {status.error or 'did not run'}", stop.exit_code or 1)
        job.status, job.return_value = JobStatus.FAILED, error
    return job
