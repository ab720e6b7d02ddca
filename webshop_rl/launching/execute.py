"""Executes the runs of a sweep: plan, freeze, hand over, attend, compare."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console

from webshop_rl.cli import invocation
from webshop_rl.duration import duration
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.dry_run import check_fits, print_plan
from webshop_rl.launching.launchers import (
    StopRequests,
    alive_as_launcher,
    ask_to_cancel,
    lost_launcher,
    planning,
)
from webshop_rl.launching.local import LOOK_SHARE, LocalQueue, Queue, local_slots
from webshop_rl.launching.manifest import Listed, short_label, split_common, write_manifest
from webshop_rl.launching.plan import Action, Planned, check_reference_returns, latest_folder, plan_all
from webshop_rl.launching.prepare import prepare, snapshot
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.recording import record_sweep, states_of
from webshop_rl.launching.slurm.commands import JobsWatch, jobs_of
from webshop_rl.launching.slurm.jobs import job_id_of
from webshop_rl.launching.slurm.queue import SlurmQueue
from webshop_rl.launching.slurm.submit import answering_controller, withdraw
from webshop_rl.launching.sweep import Sweep
from webshop_rl.launching.views import RunView, SweepTable, compare, view_run
from webshop_rl.source import acting_code_digest
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State
from webshop_rl.tracking.prepare import check_tracker

_TICK_S = 0.2
_GRACE_S = 10.0


@dataclass(frozen=True)
class Entry:
    """One distinct run of a sweep: what it is, and what is done with it."""

    composed: ComposedRun
    planned: Planned
    own: tuple[str, ...]

    @property
    def label(self) -> str:
        """Its own overrides in one line."""
        return " ".join(self.own)


@dataclass(frozen=True)
class Outcome:
    """How a run stands when the launcher ends.

    Attributes:
        dry: nothing was to be started.
        stopped_by: exit code that a signal to the launcher calls for; 0 for none.
    """

    folder: RunFolder
    status: RunStatus
    dry: bool = False
    stopped_by: int = 0


def execute_sweep(sweep: Sweep, composed: Sequence[ComposedRun]) -> list[Outcome]:
    """Execute what is not finished yet; the outcome of each run, in order.

    Raises: UserError before anything was started, if the input is bad.
    """
    began = time.monotonic()
    check_tracker(sweep.tracking)
    console = Console(markup=False)
    with StopRequests() as stop, alive_as_launcher(sweep.root) as launcher:
        with planning(sweep.root):
            entries = _plan(sweep, composed, stop)
            where = {e.composed.signature: e.planned for e in entries}
            if sweep.settings.dry_run:
                _announce(console, sweep, entries, len(composed), began)
                print_plan(
                    console,
                    [(e.composed, e.planned, e.label) for e in entries],
                    hardware=sweep.hardware,
                    executor=sweep.executor,
                    pack=sweep.settings.pack,
                )
                return [Outcome(where[c.signature].folder, RunStatus(), dry=True) for c in composed]
            watch = JobsWatch()
            queue = _hand_over(sweep, entries, launcher, watch, stop)
        _announce(console, sweep, entries, len(composed), began)
        views = _attend(sweep, entries, queue, watch, stop, console)
    if sweep.settings.wait and not _still_going(views):
        _report(console, sweep, views, time.monotonic() - began)
    else:
        root = shlex.quote(str(sweep.root.path))
        if stop.count:
            going = sum(v.status.state in GOING for v in views)
            console.print(f"left alone, still going: {going} of {_runs(len(views))}", highlight=False)
        console.print(f"{invocation()} status {sweep.name} --root {root}", soft_wrap=True)
    status = {e.composed.signature: v.status for e, v in zip(entries, views, strict=True)}
    # Jobs left to Slurm are what its user asked for (sweep.on_interrupt); nothing was cut short.
    detached = GOING if sweep.executor == "slurm" else ()
    return [
        Outcome(
            where[c.signature].folder,
            status[c.signature],
            stopped_by=0 if status[c.signature].state in detached else stop.exit_code,
        )
        for c in composed
    ]


def _plan(sweep: Sweep, composed: Sequence[ComposedRun], stop: StopRequests) -> list[Entry]:
    distinct = list({run.signature: run for run in composed}.values())
    if sweep.executor == "local":
        for run in distinct:
            check_fits(run.config)
    if sweep.executor == "slurm" and not sweep.settings.dry_run:
        jobs = answering_controller(stop)
        _withdraw_lost(sweep.root, [run.signature for run in distinct])
    else:
        jobs = jobs_of(latest_folder(sweep.root, run.signature) for run in distinct)
    planned = plan_all(
        sweep.root,
        [run.signature for run in distinct],
        code=sweep.code,
        reuse=sweep.reuse,
        observe=lambda folder: observe(folder, jobs),
    )
    check_reference_returns(
        sweep.root,
        list(zip(distinct, planned, strict=True)),
        code=acting_code_digest(sweep.source),
        on_code_change=sweep.reuse.on_code_change,
    )
    common, own = split_common([run.overrides for run in distinct])
    if not sweep.settings.dry_run:
        listed = [Listed(p.run, c.signature, o) for p, c, o in zip(planned, distinct, own, strict=True)]
        write_manifest(sweep.root, sweep.name, listed, common)
    return [Entry(c, p, o) for c, p, o in zip(distinct, planned, own, strict=True)]


def _withdraw_lost(root: Root, signatures: Sequence[str]) -> None:
    """Cancel the jobs of launchers that died while they submitted these runs: none is submitted twice."""
    folders = [latest_folder(root, signature) for signature in signatures]
    lost = {name for folder in folders if (name := lost_launcher(folder))}
    places = [jobs for name in lost for sweep in root.all_sweeps() if (jobs := sweep.jobs(name)).exists()]
    if places:
        withdraw(places, {job_id_of(run) for run in root.all_runs()})


def _hand_over(
    sweep: Sweep, entries: Sequence[Entry], launcher: str, watch: JobsWatch, stop: StopRequests
) -> Queue:
    """Freeze the runs and the code, and put the runs in line."""
    chosen = [entry for entry in entries if entry.planned.executes]
    for entry in chosen:
        label = short_label(entry.own)
        prepare(entry.composed, entry.planned, sweep=sweep.name, label=label, code=sweep.code)
    runs = [entry.planned for entry in chosen]
    code = snapshot(sweep.root, sweep.source)
    if sweep.executor == "slurm":
        return SlurmQueue(
            runs,
            hardware=sweep.hardware,
            # One folder a submission: job ids may come again on another day.
            folder=sweep.root.sweep(sweep.name).jobs(launcher),
            code=code,
            name=sweep.name,
            launcher=launcher,
            task=sweep.task,
            pack=sweep.settings.pack,
            watch=watch,
            others=[e.planned for e in entries if e.planned.action == Action.LEAVE],
            on_interrupt=lambda: ask_to_cancel(sweep.settings.on_interrupt, stop),
            stop=stop,
        )
    return LocalQueue(
        runs,
        local_slots(sweep.hardware, len(runs), pack=sweep.settings.pack) if runs else [],
        code=code,
        launcher=launcher,
        restarts=sweep.hardware.restarts,
        task=sweep.task,
    )


def _attend(
    sweep: Sweep,
    entries: Sequence[Entry],
    queue: Queue,
    watch: JobsWatch,
    stop: StopRequests,
    console: Console,
) -> list[RunView]:
    def look() -> list[RunView]:
        jobs = jobs_of((e.planned.folder for e in entries), watch.latest)
        return [view_run(e.planned.folder, e.label, jobs) for e in entries]

    if not sweep.settings.wait:
        return look()
    with SweepTable(f"sweep {sweep.name}", console) as table:
        planned = [entry.planned for entry in entries]
        return attend(queue, planned, look, table, stop, refresh_s=sweep.settings.refresh_s)


def attend(
    queue: Queue,
    planned: Sequence[Planned],
    look: Callable[[], list[RunView]],
    table: SweepTable,
    stop: StopRequests,
    *,
    refresh_s: float,
) -> list[RunView]:
    """Work the queue until it is done and the runs that others execute have ended, too.

    Args:
        queue: of the runs that this launch executes.
        planned: all runs of the sweep.
        look: the runs as they stand, in the order of planned.
        table: where they are shown.
        stop: requests of the user or the system to end.
        refresh_s: seconds between two updates of the table.
    Returns: the last look.
    """
    next_look, stopping = 0.0, False
    try:
        while True:
            if stop.count and not stopping:
                stopping = True
                queue.stop()
            if stop.urgent:
                queue.kill()
            queue.tick()
            if (began := time.monotonic()) >= next_look or queue.done:
                views = look()
                # Nothing of this launch is left to stop where all that goes on is executed by others.
                table.show(views, queue.note if queue.done else _note(stop) or queue.note)
                next_look = time.monotonic() + max(refresh_s, LOOK_SHARE * (time.monotonic() - began))
                elsewhere = any(
                    run.action == Action.LEAVE and view.status.state in GOING
                    for run, view in zip(planned, views, strict=True)
                )
                if queue.done and (stopping or not elsewhere):
                    return views
            time.sleep(_TICK_S)
    except BaseException:
        _abandon(queue)
        raise


def _note(stop: StopRequests) -> str:
    if not stop.count:
        return ""
    return "stopping: the runs save themselves; Ctrl-C once more ends them at once"


def _abandon(queue: Queue) -> None:
    """Leave no process behind, whatever went wrong here."""
    queue.stop()
    deadline = time.monotonic() + _GRACE_S
    while not queue.done and time.monotonic() < deadline:
        queue.tick()
        time.sleep(_TICK_S)
    queue.kill()
    queue.tick()


def _runs(number: int) -> str:
    return "1 run" if number == 1 else f"{number} runs"


def _still_going(views: Sequence[RunView]) -> bool:
    return any(v.status.state in GOING for v in views)


def _announce(console: Console, sweep: Sweep, entries: Sequence[Entry], asked: int, began: float) -> None:
    actions = Counter(e.planned.action.value for e in entries)
    doing = ", ".join(f"{n} {action}" for action, n in actions.items())
    same = f" ({asked - len(entries)} of them twice)" if asked > len(entries) else ""
    what = "would be" if sweep.settings.dry_run else "planned"
    seconds = time.monotonic() - began
    auto = {"slurm": " (auto: sbatch is here)", "local": " (auto: no sbatch here)"}[sweep.executor]
    executor = sweep.executor + (auto if sweep.hardware.executor == "auto" else "")
    console.print(
        f"sweep {sweep.name}: {_runs(asked)}{same} {what}: {doing}; {executor}, root {sweep.root.path}, "
        f"{seconds:.1f} s",
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
    if any(view.status.state in (State.INTERRUPTED, State.PREPARED) for view in views):
        console.print("the same command goes on with what is not finished", highlight=False)
    if any(view.status.state == State.FINISHED for view in views):
        report = f"{invocation()} report --sweep {sweep.name} --root {shlex.quote(str(sweep.root.path))}"
        console.print(f"report: {report}", highlight=False, soft_wrap=True)
