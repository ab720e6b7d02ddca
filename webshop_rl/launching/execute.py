"""Executes the runs of a sweep: plan, freeze, queue, watch, compare."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from webshop_rl.algos.config import uses_vstar
from webshop_rl.cli import invocation
from webshop_rl.duration import duration
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.dry_run import print_plan
from webshop_rl.launching.launchers import StopRequests, alive_as_launcher, lost_launcher, planning
from webshop_rl.launching.local import LOOK_SHARE, FirstTask, LocalQueue, Queue, local_slots
from webshop_rl.launching.plan import Action, Entry, latest_folder, plan_launch
from webshop_rl.launching.prepare import prepare, snapshot
from webshop_rl.launching.progress import objective
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.recording import record_sweep, states_of
from webshop_rl.launching.slurm.commands import JobsWatch, jobs_of
from webshop_rl.launching.slurm.jobs import job_id_of
from webshop_rl.launching.slurm.queue import SlurmQueue
from webshop_rl.launching.slurm.submit import answering_controller, withdraw
from webshop_rl.launching.sweep import Listed, Sweep, split_common, write_manifest
from webshop_rl.launching.views import NARROW, RunView, SweepTable, compare, counted, view_run
from webshop_rl.screen import table_width
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State
from webshop_rl.tracking.prepare import check_tracker

_TICK_S = 0.2
_GRACE_S = 10.0
_STOPPING = "stopping: the runs save themselves; Ctrl-C once more ends them at once"


@dataclass(frozen=True)
class Outcome:
    """How a run stands when the launcher ends.

    Attributes:
        status: as last seen; one never prepared where nothing was to be started.
        exit_code: of a command that executed this run alone.
    """

    folder: RunFolder
    status: RunStatus
    exit_code: int = 0

    @property
    def objective(self) -> float | None:
        """What a finished run returned; None of any other."""
        return objective(self.folder) if self.status.state == State.FINISHED else None

    @property
    def error(self) -> str:
        """Why the run has no objective, in one line."""
        default = "left alone" if self.status.state in GOING else "did not run"
        return f"{self.folder.name}: {self.status.error or default}"


def execute_sweep(sweep: Sweep, composed: Sequence[ComposedRun]) -> list[Outcome]:
    """Execute what is not finished yet; the outcome of each run, in order.

    Raises: UserError before anything was started, if the input is bad.
    """
    began = time.monotonic()
    console = Console(markup=False, width=table_width())
    options = sweep.config.sweep
    check_tracker(sweep.tracking, dry_run=options.dry_run)
    if options.dry_run:  # decides nothing, so that it locks nothing and leaves nothing
        entries = _plan(sweep, composed, StopRequests())
        _announce(console, sweep, entries, len(composed), began)
        print_plan(console, sweep, entries, num_sampled=len(_sampled_first(sweep, entries)))
        return _in_order(composed, entries, [Outcome(entry.folder, RunStatus()) for entry in entries])
    with StopRequests() as stop, alive_as_launcher(sweep.root) as launcher:
        with planning(sweep.root):
            entries = _plan(sweep, composed, stop)
            watch = JobsWatch()
            queue = _enqueue(sweep, entries, launcher, watch, stop)
        _announce(console, sweep, entries, len(composed), began)
        views = _watch_runs(sweep, entries, queue, watch, stop, console)
    if options.wait and not _still_going(views):
        _report(console, sweep, views, time.monotonic() - began)
    else:
        if stop.count:
            going = sum(v.status.state in GOING for v in views)
            console.print(
                f"left alone, still going: {going} of {counted(len(views), 'run')}", highlight=False
            )
        root = shlex.quote(str(sweep.root.path))
        console.print(f"{invocation()} status {sweep.name} --root {root}", soft_wrap=True)
    return _in_order(composed, entries, [_outcome(view, sweep, stop) for view in views])


def _in_order(
    composed: Sequence[ComposedRun], entries: Sequence[Entry], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """The outcome of each run asked for, from those of the entries: a run asked for twice is one entry."""
    found = {e.composed.signature: outcome for e, outcome in zip(entries, outcomes, strict=True)}
    return [found[run.signature] for run in composed]


def _outcome(view: RunView, sweep: Sweep, stop: StopRequests) -> Outcome:
    state = view.status.state
    # Jobs left to Slurm are what its user asked for (sweep.on_interrupt), and what goes on is nobody's
    # failure, unless this command was interrupted while it waited.
    left = state in GOING and (sweep.executor == "slurm" or not stop.exit_code)
    return Outcome(view.folder, view.status, 0 if left or state == State.FINISHED else stop.exit_code or 1)


def _plan(sweep: Sweep, composed: Sequence[ComposedRun], stop: StopRequests) -> list[Entry]:
    dry = sweep.config.sweep.dry_run
    folders = [latest_folder(sweep.root, signature) for signature in {run.signature for run in composed}]
    if sweep.executor == "slurm" and not dry:
        jobs = answering_controller(stop)
        _withdraw_lost(sweep.root, folders)
    else:
        jobs = jobs_of(folders)
    entries = plan_launch(sweep, composed, lambda folder: observe(folder, jobs))
    if not dry:
        common = split_common([entry.composed.overrides for entry in entries])[0]
        listed = [Listed(e.folder.name, e.composed.signature, e.own) for e in entries]
        write_manifest(sweep.root, sweep.name, listed, common)
    return entries


def _sampled_first(sweep: Sweep, entries: Sequence[Entry]) -> list[RunFolder]:
    """The runs to start whose reference returns a task of its own samples before (sweep.vstar_job)."""
    if not sweep.config.sweep.vstar_job:
        return []
    return [e.folder for e in entries if e.planned.executes and uses_vstar(e.composed.fields)]


def _withdraw_lost(root: Root, folders: Sequence[RunFolder]) -> None:
    """Cancel the jobs of launchers that ended while they submitted these runs: none is submitted twice."""
    lost = {name for folder in folders if (name := lost_launcher(folder))}
    places = [jobs for name in lost for sweep in root.all_sweeps() if (jobs := sweep.jobs(name)).exists()]
    if places:
        withdraw(places, {job_id_of(run) for run in root.all_runs()})


def _enqueue(
    sweep: Sweep, entries: Sequence[Entry], launcher: str, watch: JobsWatch, stop: StopRequests
) -> Queue:
    """Freeze the runs and the code, and queue the runs."""
    chosen = [entry for entry in entries if entry.planned.executes]
    for entry in chosen:
        prepare(entry, sweep=sweep.name, code=sweep.code)
    runs = [entry.folder for entry in chosen]
    sampled = _sampled_first(sweep, entries)
    code = snapshot(sweep.root, sweep.source)
    if sweep.executor == "slurm":
        others = [entry.folder for entry in entries if entry.planned.action == Action.LEAVE]
        return SlurmQueue(
            sweep, runs, others, code=code, launcher=launcher, watch=watch, stop=stop, sampled=sampled
        )
    job = {"runs": [str(run.path) for run in sampled]}
    log = sweep.root.sweep(sweep.name).stage1_log
    hardware = sweep.config.hardware
    return LocalQueue(
        runs,
        local_slots(hardware, len(runs), pack=sweep.config.sweep.pack) if runs else [],
        code=code,
        launcher=launcher,
        restarts=hardware.restarts,
        first=FirstTask("webshop_rl.launching.stage1", job, log) if sampled else None,
        forked=sweep.tracking,
    )


def _watch_runs(
    sweep: Sweep,
    entries: Sequence[Entry],
    queue: Queue,
    watch: JobsWatch,
    stop: StopRequests,
    console: Console,
) -> list[RunView]:
    """Work the queue until it is done and the runs that others execute have ended, too; the last look."""

    def look() -> list[RunView]:
        jobs = jobs_of((entry.folder for entry in entries), watch.latest)
        return [view_run(entry.folder, entry.label, jobs) for entry in entries]

    if not sweep.config.sweep.wait:
        return look()
    next_look, stopping, said = 0.0, False, ""
    try:
        with SweepTable(f"sweep {sweep.name}", console) as table:
            while True:
                if stop.count and not stopping:
                    stopping = True
                    said = "" if queue.done else _STOPPING  # what goes on then is executed by others
                    queue.stop()
                if stop.urgent:
                    queue.kill()
                queue.tick()
                if (began := time.monotonic()) >= next_look or queue.done:
                    views = look()
                    table.show(views, said or queue.note)
                    pause_s = LOOK_SHARE * (time.monotonic() - began)
                    next_look = time.monotonic() + max(sweep.config.sweep.refresh_s, pause_s)
                    elsewhere = any(
                        entry.planned.action == Action.LEAVE and view.status.state in GOING
                        for entry, view in zip(entries, views, strict=True)
                    )
                    if queue.done and (stopping or not elsewhere):
                        return views
                time.sleep(_TICK_S)
    except BaseException:
        _abandon(queue)
        raise


def _abandon(queue: Queue) -> None:
    """Leave no process behind, whatever went wrong here."""
    queue.stop()
    deadline = time.monotonic() + _GRACE_S
    while not queue.done and time.monotonic() < deadline:
        queue.tick()
        time.sleep(_TICK_S)
    queue.kill()
    queue.tick()


def _still_going(views: Sequence[RunView]) -> bool:
    return any(v.status.state in GOING for v in views)


def _announce(console: Console, sweep: Sweep, entries: Sequence[Entry], asked: int, began: float) -> None:
    actions = Counter(e.planned.action.value for e in entries)
    doing = ", ".join(f"{n} {action}" for action, n in actions.items())
    same = f" ({asked - len(entries)} of them twice)" if asked > len(entries) else ""
    what = "would be" if sweep.config.sweep.dry_run else "planned"
    seconds = time.monotonic() - began
    auto = {"slurm": " (auto: sbatch is here)", "local": " (auto: no sbatch here)"}[sweep.executor]
    executor = sweep.executor + (auto if sweep.config.hardware.executor == "auto" else "")
    console.print(
        f"sweep {sweep.name}: {counted(asked, 'run')}{same} {what}: {doing}; {executor}, "
        f"root {sweep.root.path}, {seconds:.1f} s",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


def _report(console: Console, sweep: Sweep, views: Sequence[RunView], seconds: float) -> None:
    record_sweep(sweep.tracking, sweep.name, states_of(views))
    title = f"sweep {sweep.name}, {duration(seconds)}"
    console.print(compare(views, title=title, width=console.width))
    for view in views:
        if view.status.state in (State.FAILED, State.INTERRUPTED):
            what = f"{view.status.state} {view.run} {view.label}: {view.status.error}"
            print(f"{what} ({view.folder.log})", file=sys.stderr)
    for view in views:
        if view.ending and console.width < NARROW:
            console.print(f"{view.run} {view.label}: {view.ending}", highlight=False, soft_wrap=True)
    if any(view.status.state in (State.INTERRUPTED, State.PREPARED) for view in views):
        console.print("give the same command again to resume what is not finished", highlight=False)
    if any(view.status.state == State.FINISHED for view in views):
        report = f"{invocation()} report --sweep {sweep.name} --root {shlex.quote(str(sweep.root.path))}"
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
