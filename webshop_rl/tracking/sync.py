"""Replay the journals that a tracker has not taken: `python -m webshop_rl.tracking.sync FOLDER...`

A folder is a run, the root, its runs/, or any folder that contains runs. It may be done at any time,
also while the runs go on, and any number of times: nothing is stored twice.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.cli import command
from webshop_rl.config.groups import TrackingConfig
from webshop_rl.errors import UserError
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import Busy
from webshop_rl.tracking.client import reason
from webshop_rl.tracking.config import Destination, default_uri, sqlite_path, tracker_uri
from webshop_rl.tracking.database import create_database
from webshop_rl.tracking.mirror import Mirror
from webshop_rl.tracking.prepare import check_tracker, may_write_here, writing_host
from webshop_rl.tracking.rows import Row, scan

_WAIT_S = 60.0


@dataclass(frozen=True)
class Synced:
    """What a replay did: the run in MLflow, the rows it was sent, and the state the journal ends in."""

    run_name: str
    run_id: str
    rows: int
    status: str


def sync_run(run_dir: Path, uri: str | None, *, timeout_s: float) -> Synced:
    """Replay one run to the tracker it was launched with, or to another.

    Args:
        run_dir: <root>/runs/<signature>, which contains a journal.
        uri: of the tracker; None for the one in the journal.
        timeout_s: longest wait for one answer.
    Raises: UserError if the journal is damaged, or the sqlite file is another machine's to write;
        lock.Busy if another process replays this run all the time; what mlflow raises if it is away.
    """
    destination, status, name = _destination(run_dir, uri, timeout_s)
    _refuse_foreign(destination.uri)
    mirror = Mirror(run_dir, destination)
    mirror.forget_lost()
    rows = mirror.sync(wait_s=_WAIT_S)
    return Synced(name, mirror.target().run_id, rows, status)


def find_runs(folder: Path) -> list[Path]:
    """Run folders at or below a folder, up to three levels down, in order of name.

    Raises: UserError if there is none.
    """
    journal = RunFolder(folder).journal.name
    patterns = (journal, f"*/{journal}", f"*/*/{journal}", f"*/*/*/{journal}")
    found = sorted({path.parent for pattern in patterns for path in folder.glob(pattern)})
    if not found:
        raise UserError(
            "contains no run", where=str(folder), remedy="give a run's folder, or one that contains runs"
        )
    return found


def _destination(run_dir: Path, uri: str | None, timeout_s: float) -> tuple[Destination, str, str]:
    run = RunFolder(run_dir.resolve())
    identity: Row = {}
    status, place = "RUNNING", ""
    for _, row in scan(run.journal):
        if row["kind"] == "run":
            identity = row
        elif row["kind"] == "tags":
            place = row["tags"].get("folder", place)
        elif row["kind"] == "state":
            status = row["status"]
    if not identity:
        raise UserError("contains no run yet", where=str(run.journal), remedy="start it first")
    root = run.root.path
    recorded = identity["uri"]
    if place and recorded == default_uri(RunFolder(Path(place)).root.path):
        recorded = ""  # the tracker of the root, wherever that is by now
    target = tracker_uri(uri or recorded, root)
    # The command replays at once: of the times, only that of an answer matters.
    config = TrackingConfig("mlflow", target, timeout_s, timeout_s, timeout_s, traces=0)
    return Destination(config, root, identity["experiment"]), status, str(identity["run_name"])


def _refuse_foreign(uri: str) -> None:
    if not may_write_here(uri):
        raise UserError(
            f"is written by {writing_host(uri)}, and two machines ruin a sqlite file",
            where=uri,
            remedy="sync there, or use --tracking-uri with a server (webshop-rl ui)",
        )


def sync_all(
    folders: Sequence[Path], uri: str | None, *, timeout_s: float
) -> Iterator[tuple[Path, Synced | str]]:
    """(run folder, what was done or one line of what went wrong) of every run, one at a time.

    A tracker that does not answer is not asked again for the runs that follow.
    """
    known: dict[str, str] = {}
    for run_dir in folders:
        try:
            destination = _destination(run_dir, uri, timeout_s)[0]
            if destination.uri not in known:
                known[destination.uri] = _problem(destination)
            if known[destination.uri]:
                yield run_dir, known[destination.uri]
            else:
                yield run_dir, sync_run(run_dir, uri, timeout_s=timeout_s)
        except (UserError, Busy) as error:
            yield run_dir, str(error)
        except Exception as error:
            yield run_dir, f"MLflow: {reason(error)}"


def lacking(root: Path) -> tuple[list[Path], Counter[str]]:
    """What the tracker of a root does not show: run folders that it has not taken whole, and other trackers.

    Costs little: of a journal the first row is read, and its size.

    Args:
        root: absolute folder that contains runs/ and mlflow.db.
    Returns: folders of runs recorded in the root's own tracker; how many are recorded elsewhere, by address.
    """
    own: list[Path] = []
    elsewhere: Counter[str] = Counter()
    with contextlib.suppress(UserError):
        for run_dir in find_runs(root):
            first = next((row for _, row in scan(RunFolder(run_dir).journal)), None)
            if first is None:
                continue
            if first["uri"] not in ("", default_uri(root)):
                elsewhere[first["uri"]] += 1
            elif Mirror(run_dir, _own_tracker(root, first["experiment"])).behind():
                own.append(run_dir)
    return own, elsewhere


def _own_tracker(root: Path, experiment: str, timeout_s: float = _WAIT_S) -> Destination:
    config = TrackingConfig("mlflow", default_uri(root), timeout_s, timeout_s, timeout_s, traces=0)
    return Destination(config, root, experiment)


def _problem(destination: Destination) -> str:
    """One line on why this tracker takes nothing, or ""."""
    try:
        _refuse_foreign(destination.uri)
        check_tracker(destination)
        if (database := sqlite_path(destination.uri)) is not None:
            create_database(database)
    except UserError as error:
        return str(error)
    return ""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 if every run is replayed, 1 if not, 2 if there is none."""
    parser = argparse.ArgumentParser(
        prog="webshop_rl.tracking.sync", description="Replay to MLflow what it has not taken."
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a run, or a folder of runs")
    parser.add_argument("--tracking-uri", help="tracker to replay to (default: the one of each run)")
    parser.add_argument(
        "--timeout-s", type=float, default=30.0, help="longest wait for an answer (default: 30)"
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    runs = [run for folder in options.folders for run in find_runs(folder)]
    failed = 0
    for run_dir, outcome in sync_all(runs, options.tracking_uri, timeout_s=options.timeout_s):
        if isinstance(outcome, str):
            failed += 1
            print(f"{run_dir.name}  not replayed: {outcome}", flush=True)
        else:
            rows = f"{outcome.rows} rows" if outcome.rows else "up to date"
            print(f"{run_dir.name}  {outcome.status:<9}  {rows:>12}  MLflow run {outcome.run_id}", flush=True)
    print(f"{len(runs) - failed} of {len(runs)} runs are in MLflow")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
