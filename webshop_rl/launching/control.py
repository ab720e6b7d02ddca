"""What one may do to a sweep from outside: end it, run again what failed, read what a run printed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from webshop_rl.errors import UserError
from webshop_rl.launching.cluster.commands import cancel
from webshop_rl.launching.runs.compose import ComposedRun
from webshop_rl.launching.runs.observe import observe
from webshop_rl.launching.runs.plan import Wishes, recorded_code
from webshop_rl.launching.runs.presence import launcher_process
from webshop_rl.launching.runs.state import GOING, State, held_by_job, job_complaints, jobs_of
from webshop_rl.launching.sweeps.execute import execute_sweep
from webshop_rl.launching.sweeps.manifest import Manifest
from webshop_rl.launching.sweeps.sweep import Sweep, sweep_of
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder


def cancel_sweep(root: Path, manifest: Manifest) -> str:
    """Cancel the Slurm jobs of a sweep's runs, and end the launchers of its local ones.

    Runs save themselves before they end. Returns: one line on what was done.
    """
    jobs, launchers, elsewhere = set(), set(), set()
    slurm = jobs_of(manifest.folder(root, listed) for listed in manifest.runs)
    for listed in manifest.runs:
        folder = manifest.folder(root, listed)
        status = observe(root, folder, slurm)
        if status is None or status.state not in GOING:
            continue
        if job_id := held_by_job(folder):
            jobs.add(job_id)
        elif process := launcher_process(root, status.launcher):
            (launchers.add(process.pid) if process.is_here else elsewhere.add(process.host))
        elif status.state == State.RUNNING:
            launchers.add(status.pid)
    if jobs:
        cancel(jobs)
    for pid in launchers:
        os.kill(pid, signal.SIGTERM)
    if elsewhere:
        hosts = ", ".join(sorted(elsewhere))
        raise UserError(
            f"runs are in the hands of a launcher on {hosts}", where=manifest.name, remedy="cancel there"
        )
    whose = f"sweep {manifest.name}" if manifest.name else ", ".join(run.run for run in manifest.runs)
    return f"cancelled {len(jobs)} jobs and {len(launchers)} local processes of {whose}"


def retry_sweep(root: Path, manifest: Manifest) -> int:
    """Execute again the runs of a sweep that failed or were interrupted, with the code they had.

    For mended code use the launch command with retry=true.
    Returns: exit code: 1 if a run failed again, 128 + signal if it was interrupted.
    Raises: UserError if there is nothing to retry, or the frozen code is gone.
    """
    again = []
    slurm = jobs_of(manifest.folder(root, listed) for listed in manifest.runs)
    for listed in manifest.runs:
        folder = manifest.folder(root, listed)
        status = observe(root, folder, slurm)
        if status is not None and status.state in (State.FAILED, State.INTERRUPTED, State.PREPARED):
            again.append(folder)
    if not again:
        raise UserError("has no failed or interrupted run", where=manifest.name, remedy="nothing to retry")
    codes = {str(recorded_code(folder)) for folder in again}
    stopped_by = failed = 0
    for code in sorted(codes):
        source = Root(root).code(code)
        if not source.is_dir():
            raise UserError(
                "the code of these runs is gone", where=str(source), remedy="launch with retry=true"
            )
        composed = [
            frozen_run(f)
            for f in again
            if (read_json(RunFolder(f).signature) or {}).get("code_digest") == code
        ]
        outcomes = execute_sweep(_retrying(manifest, composed[0], source), composed)
        stopped_by = max(stopped_by, *(o.stopped_by for o in outcomes))
        failed += sum(o.status.state == State.FAILED for o in outcomes)
    return stopped_by or (1 if failed else 0)


def frozen_run(folder: Path) -> ComposedRun:
    """A run as it was composed at its launch, in the root where it lies now."""
    identity = read_json(RunFolder(folder).signature) or {}
    config = yaml.safe_load(RunFolder(folder).config.read_text(encoding="utf-8"))
    config["root"] = str(RunFolder(folder).root.path)
    return ComposedRun(tuple(identity["overrides"]), config, identity["fields"], identity["signature"])


def find_run(root: Path, name: str) -> Path:
    """Folder of the run of that name, or of the only one that begins so. Raises: UserError."""
    found = [path for path in sorted(Root(root).runs.glob(f"{name}*")) if path.is_dir()] if name else []
    exact = [path for path in found if path.name == name]
    if len(exact or found) != 1:
        what = "is no run" if not found else f"may be any of {len(found)} runs"
        raise UserError(
            f"{name!r} {what}", where=str(Root(root).runs), remedy="see the column run of the table"
        )
    return (exact or found)[0]


def print_log(folder: Path, *, follow: bool) -> None:
    """Print a run's log, and with follow what comes until the run has ended.

    Of a run whose job failed before it could begin, what the job complained of.
    """
    path = RunFolder(folder).log
    if not path.exists() and (told := job_complaints(folder)) is not None:
        path = told
    if not path.exists() and not follow:
        raise UserError("has printed nothing yet", where=str(path), remedy="--follow waits for it")
    position = 0
    while True:
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                file.seek(position)
                shutil.copyfileobj(file, sys.stdout)
                position = file.tell()
            sys.stdout.flush()
        status = observe(RunFolder(folder).root.path, folder)
        if not follow or (status is not None and status.state not in GOING):
            return
        time.sleep(1.0)


def _retrying(manifest: Manifest, run: ComposedRun, source: Path) -> Sweep:
    sweep = sweep_of(run, manifest.name)
    wishes = Wishes(retry=True, on_code_change="refuse")
    settings = replace(sweep.settings, dry_run=False)
    return replace(sweep, name=manifest.name, source=source, wishes=wishes, settings=settings)
