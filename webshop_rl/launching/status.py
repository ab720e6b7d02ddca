"""Sweeps and single runs seen from any shell, also after their launcher is gone.

    webshop-rl status [SWEEP or RUN]   table, live on a terminal; without a name what was launched last,
                                       a sweep or the single runs
    webshop-rl status cancel SWEEP     end its runs (or a RUN); they save themselves first
    webshop-rl status retry SWEEP      run again what failed or was interrupted
    webshop-rl status logs RUN         what a run has printed

Metrics that the runs could not bring to their tracker are replayed first.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from webshop_rl.cli import command, invocation
from webshop_rl.config.load import as_typed, read
from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.execute import execute_sweep
from webshop_rl.launching.plan import recorded_code
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.recording import replay_sweep
from webshop_rl.launching.slurm.commands import JobsWatch, cancel, jobs_of
from webshop_rl.launching.slurm.jobs import job_id_of
from webshop_rl.launching.slurm.submit import withdraw
from webshop_rl.launching.sweep import Manifest, list_sweeps, listed_run, read_manifest, single_runs, sweep_of
from webshop_rl.launching.views import RunView, SweepTable, print_log, render, summary, view_run
from webshop_rl.screen import table_width
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, State

# Single runs below the table of a sweep, besides those going.
_RECENT = 5


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0; 1 if a run of the sweep failed; 2 if there is no such sweep or run."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    carry_out: Callable[[Root, argparse.Namespace], int] = options.carry_out
    with contextlib.suppress(KeyboardInterrupt):  # how the live table and --follow are left
        return carry_out(Root(options.root.expanduser().resolve()), options)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--root", type=Path, default=argparse.SUPPRESS, help="root of the runs (default: runs)")
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} status",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        parents=[root],
    )
    commands = parser.add_subparsers(title="commands (default: show)", required=True)

    show = commands.add_parser("show", parents=[root], help="the table of a sweep or a run")
    show.add_argument("name", nargs="?", metavar="SWEEP or RUN")
    show.add_argument("--once", action="store_true", help="one look, on a terminal too")
    show.add_argument("--json", action="store_true", help="one look, as JSON")
    show.add_argument("--no-replay", action="store_true", help="leave the tracker as it is")
    show.set_defaults(carry_out=_show)

    end = commands.add_parser("cancel", parents=[root], help="end runs; they save themselves first")
    end.add_argument("name", nargs="?", metavar="SWEEP or RUN")
    end.set_defaults(carry_out=_cancel)

    retry = commands.add_parser("retry", parents=[root], help="run again what failed or was interrupted")
    retry.add_argument("name", nargs="?", metavar="SWEEP")
    retry.set_defaults(carry_out=_retry)

    logs = commands.add_parser("logs", parents=[root], help="what a run has printed")
    logs.add_argument("name", metavar="RUN")
    logs.add_argument("--follow", "-f", action="store_true", help="go on printing")
    logs.set_defaults(carry_out=_logs)

    if not {*commands.choices, "-h", "--help"} & {*arguments}:
        arguments = ["show", *arguments]
    options = parser.parse_args(arguments)
    options.root = getattr(
        options, "root", Path("runs")
    )  # a default of a command would undo what stands before it
    return options


def _cancel(root: Root, options: argparse.Namespace) -> int:
    """Cancel the Slurm jobs of a sweep's runs, and end the launchers of its local ones.

    Runs save themselves before they end.
    """
    manifest = _named(root, options.name, "cancel")
    folders = [root.run(listed.run) for listed in manifest.runs]
    jobs, processes, elsewhere = set(), set(), set()
    slurm = jobs_of(folders)
    for folder in folders:
        status = observe(folder, slurm)
        if status is None or status.state not in GOING:
            continue
        if job_id := job_id_of(folder):
            jobs.add(job_id)
        elif status.launcher and (owner := root.launcher_lock(status.launcher).holder()):
            if owner.host == socket.gethostname():
                processes.add(owner.pid)
            else:
                elsewhere.add(owner.host)
        elif status.state == State.RUNNING:
            processes.add(status.pid)
    if jobs:
        cancel(jobs)
    if manifest.name and slurm.reachable and any(map(job_id_of, folders)):
        # That no run is noted for: the one that samples reference returns (sweep.vstar_job).
        jobs |= withdraw(root.sweep(manifest.name).all_jobs(), {job_id_of(run) for run in root.all_runs()})
    for pid in processes:
        os.kill(pid, signal.SIGTERM)
    if elsewhere:
        hosts = ", ".join(sorted(elsewhere))
        raise UserError(f"is run by a launcher on {hosts}", where=manifest.name, remedy="cancel there")
    whose = f"sweep {manifest.name}" if manifest.name else ", ".join(run.run for run in manifest.runs)
    print(f"cancelled {len(jobs)} jobs and {len(processes)} local processes of {whose}")
    return 0


def _retry(root: Root, options: argparse.Namespace) -> int:
    """Execute again the runs of a sweep that failed or were interrupted, with the code they had."""
    manifest = _named(root, options.name, "retry")
    if not manifest.name:
        raise UserError("is a single run", where=options.name, remedy="its command with retry=true goes on")
    folders = [root.run(listed.run) for listed in manifest.runs]
    slurm = jobs_of(folders)
    by_code: dict[str, list[ComposedRun]] = {}
    for folder in folders:
        status = observe(folder, slurm)
        if status is not None and status.state in (State.FAILED, State.INTERRUPTED, State.PREPARED):
            by_code.setdefault(str(recorded_code(folder)), []).append(_frozen_run(folder))
    if not by_code:
        raise UserError("has no failed or interrupted run", where=manifest.name, remedy="nothing to retry")
    codes = []
    for code, runs in sorted(by_code.items()):
        source = root.code(code)
        if not source.is_dir():
            raise UserError(
                "the code of these runs is gone", where=str(source), remedy="launch with retry=true"
            )
        sweep = replace(sweep_of(runs, manifest.name), name=manifest.name, source=source)
        codes += [outcome.exit_code for outcome in execute_sweep(sweep, runs)]
    return max(codes)


def _frozen_run(folder: RunFolder) -> ComposedRun:
    """A run as it was composed at its launch, to be run again in the root where it lies now."""
    identity, config = read_json(folder.signature) or {}, read(folder.config)
    as_typed(config, folder.config)  # refuses what other code wrote
    if not {"overrides", "fields", "signature"} <= identity.keys():
        remedy = "launch it again"
        raise UserError("the run was made by other code", where=str(folder.signature), remedy=remedy)
    again = {"retry": True, "rerun": False, "on_code_change": "refuse", "root": str(folder.root.path)}
    config |= {**again, "sweep": {**config["sweep"], "dry_run": False}}
    return ComposedRun(tuple(identity["overrides"]), config, identity["fields"], identity["signature"])


def _logs(root: Root, options: argparse.Namespace) -> int:
    run = root.find_run(options.name)
    if run is None:
        remedy = "see the column run of the table"
        raise UserError(f"{options.name!r} is not a run", where=str(root.runs), remedy=remedy)
    print_log(run, follow=options.follow)
    return 0


def _named(root: Root, name: str | None, what: str) -> Manifest:
    if name is None:
        raise UserError("the name of a sweep is missing", where=what, remedy=_known_sweeps(root))
    return _find(root, name)


def _find(root: Root, name: str | None) -> Manifest:
    """The sweep of that name, or a run as a manifest of its own; without a name what was launched last."""
    if name is None:
        there = [*list_sweeps(root)[-1:], *filter(None, [single_runs(root)])]
        if not there:
            raise UserError("contains no run", where=str(root.path), remedy="--root FOLDER")
        return max(there, key=lambda manifest: manifest.created)
    found = read_manifest(root, name)
    if found is not None:
        return found
    folder = root.find_run(name)
    if folder is None:
        what = f"there is no sweep {name}, and no run"
        raise UserError(what, where=str(root.path), remedy=_known_sweeps(root))
    return Manifest("", 0.0, (), (), (listed_run(folder),))


def _known_sweeps(root: Root) -> str:
    known = ", ".join(manifest.name for manifest in list_sweeps(root)[-5:])
    return f"there are: {known}" if known else "there is no sweep"


def look(root: Root, manifest: Manifest, watch: JobsWatch) -> list[RunView]:
    """The runs of a sweep as they stand."""
    folders = [root.run(listed.run) for listed in manifest.runs]
    jobs = jobs_of(folders, watch.latest)
    return [
        view_run(folder, listed.label, jobs, with_log=True)
        for folder, listed in zip(folders, manifest.runs, strict=True)
    ]


def _show(root: Root, options: argparse.Namespace) -> int:
    manifest = _find(root, options.name)
    console, watch = Console(markup=False, width=table_width()), JobsWatch()
    views = look(root, manifest, watch)
    if not options.no_replay:
        replay_sweep(root, manifest, views)
    if options.json:
        print(json.dumps([_as_json(view) for view in views], indent=1))
    elif options.once or not console.is_terminal:
        console.print(render(views, title=_title(manifest), width=console.width))
        if watch.problem:
            console.print(_away(watch), highlight=False, soft_wrap=True)
        _others(console, root, manifest, watch)
    else:
        views = _follow(root, manifest, watch, console)
        if not options.no_replay:
            replay_sweep(root, manifest, views)
    return 1 if any(view.status.state == State.FAILED for view in views) else 0


def _follow(root: Root, manifest: Manifest, watch: JobsWatch, console: Console) -> list[RunView]:
    with SweepTable(_title(manifest), console) as table:
        while True:
            views = look(root, manifest, watch)
            table.show(views, _away(watch) if watch.problem else "")
            if not any(view.status.state in GOING for view in views):
                return views
            time.sleep(1.0)


def _away(watch: JobsWatch) -> str:
    return f"Slurm does not say what the jobs do: {watch.problem}"


def _title(manifest: Manifest) -> str:
    if not manifest.name:
        return "single runs" if len(manifest.runs) > 1 else "single run"
    return " ".join(word for word in ("sweep", manifest.name, *manifest.common) if word)


def _others(console: Console, root: Root, shown: Manifest, watch: JobsWatch) -> None:
    """A line for each other sweep, and the single runs as a table."""
    for manifest in list_sweeps(root):
        if manifest.name != shown.name:
            views = look(root, manifest, watch)
            console.print(f"sweep {manifest.name}: {summary(views)}", highlight=False, soft_wrap=True)
    single = single_runs(root, recent=_RECENT) if shown.name else None
    if single is not None:
        console.print(render(look(root, single, watch), title=_title(single), width=console.width))


def _as_json(view: RunView) -> dict[str, object]:
    status = view.status
    progress = view.progress
    return {
        "run": view.run,
        "overrides": view.label,
        "state": status.state.value,
        "attempts": status.attempts,
        "where": view.place,
        "update": progress.update,
        "num_updates": progress.num_updates,
        "success": progress.success,
        "elapsed_s": round(status.elapsed_s, 1),
        "error": status.error,
        "last_line": view.last_line,
    }


if __name__ == "__main__":
    raise SystemExit(main())
