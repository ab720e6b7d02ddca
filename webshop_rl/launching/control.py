"""What one may do to a sweep from outside: end it, run again what failed, read what a run printed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

import yaml  # type: ignore[import-untyped]

from webshop_rl.errors import UserError
from webshop_rl.launching.compose import ComposedRun
from webshop_rl.launching.execute import execute_sweep
from webshop_rl.launching.manifest import Manifest
from webshop_rl.launching.plan import Reuse, recorded_code
from webshop_rl.launching.reconcile import observe
from webshop_rl.launching.slurm.commands import cancel, jobs_of
from webshop_rl.launching.slurm.jobs import job_id_of, submitted_job
from webshop_rl.launching.sweep import Sweep, sweep_of
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import GOING, State


def cancel_sweep(root: Root, manifest: Manifest) -> str:
    """Cancel the Slurm jobs of a sweep's runs, and end the launchers of its local ones.

    Runs save themselves before they end. Returns: one line on what was done.
    """
    jobs, launchers, elsewhere = set(), set(), set()
    slurm = jobs_of(manifest.folder(root, listed) for listed in manifest.runs)
    for listed in manifest.runs:
        folder = manifest.folder(root, listed)
        status = observe(folder, slurm)
        if status is None or status.state not in GOING:
            continue
        if job_id := job_id_of(folder):
            jobs.add(job_id)
        elif status.launcher and (owner := root.launcher_lock(status.launcher).holder()):
            if owner.host == socket.gethostname():
                launchers.add(owner.pid)
            else:
                elsewhere.add(owner.host)
        elif status.state == State.RUNNING:
            launchers.add(status.pid)
    if jobs:
        cancel(jobs)
    for pid in launchers:
        os.kill(pid, signal.SIGTERM)
    if elsewhere:
        hosts = ", ".join(sorted(elsewhere))
        raise UserError(f"is run by a launcher on {hosts}", where=manifest.name, remedy="cancel there")
    whose = f"sweep {manifest.name}" if manifest.name else ", ".join(run.run for run in manifest.runs)
    return f"cancelled {len(jobs)} jobs and {len(launchers)} local processes of {whose}"


def retry_sweep(root: Root, manifest: Manifest) -> int:
    """Execute again the runs of a sweep that failed or were interrupted, with the code they had.

    For mended code use the launch command with retry=true.
    Returns: exit code: 1 if a run failed again, 128 + signal if it was interrupted.
    Raises: UserError if there is nothing to retry, or the frozen code is gone.
    """
    again = []
    slurm = jobs_of(manifest.folder(root, listed) for listed in manifest.runs)
    for listed in manifest.runs:
        folder = manifest.folder(root, listed)
        status = observe(folder, slurm)
        if status is not None and status.state in (State.FAILED, State.INTERRUPTED, State.PREPARED):
            again.append(folder)
    if not again:
        raise UserError("has no failed or interrupted run", where=manifest.name, remedy="nothing to retry")
    codes = {str(recorded_code(folder)) for folder in again}
    stopped_by = failed = 0
    for code in sorted(codes):
        source = root.code(code)
        if not source.is_dir():
            raise UserError(
                "the code of these runs is gone", where=str(source), remedy="launch with retry=true"
            )
        composed = [frozen_run(folder) for folder in again if recorded_code(folder) == code]
        outcomes = execute_sweep(_retrying(manifest, composed[0], source), composed)
        stopped_by = max(stopped_by, *(o.stopped_by for o in outcomes))
        failed += sum(o.status.state == State.FAILED for o in outcomes)
    return stopped_by or (1 if failed else 0)


def frozen_run(folder: RunFolder) -> ComposedRun:
    """A run as it was composed at its launch, in the root where it lies now."""
    identity = read_json(folder.signature) or {}
    config = yaml.safe_load(folder.config.read_text(encoding="utf-8"))
    config["root"] = str(folder.root.path)
    return ComposedRun(tuple(identity["overrides"]), config, identity["fields"], identity["signature"])


def find_run(root: Root, name: str) -> RunFolder:
    """The run of that name, or the only one whose name begins so. Raises: UserError."""
    found = [run for run in root.all_runs() if run.name.startswith(name)] if name else []
    exact = [run for run in found if run.name == name]
    if len(exact or found) != 1:
        what = "is not a run" if not found else f"may be any of {len(found)} runs"
        raise UserError(f"{name!r} {what}", where=str(root.runs), remedy="see the column run of the table")
    return (exact or found)[0]


def print_log(run: RunFolder, *, follow: bool) -> None:
    """Print a run's log, and with follow what comes until the run has ended.

    Of a run whose job failed before it could begin, what the job printed on stderr.
    """
    path = run.log
    if not path.exists() and (job := submitted_job(run)) is not None and job.stderr.is_file():
        path = job.stderr
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
        status = observe(run)
        if not follow or (status is not None and status.state not in GOING):
            return
        time.sleep(1.0)


def _retrying(manifest: Manifest, run: ComposedRun, source: Path) -> Sweep:
    sweep = sweep_of(run, manifest.name)
    reuse = Reuse(retry=True, on_code_change="refuse")
    settings = replace(sweep.settings, dry_run=False)
    return replace(sweep, name=manifest.name, source=source, reuse=reuse, settings=settings)
