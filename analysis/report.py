"""The comparison of a sweep's runs: `webshop-rl report SWEEP`.

Writes report.html (one page, nothing beside it needed), report.md, failures.md, *.csv, episodes.jsonl and
figures/.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from webshop_rl.cli import command, invocation
from webshop_rl.errors import UserError
from webshop_rl.screen import say_step, table_width
from webshop_rl.storage.folders import Root

from .axes import AXES

if TYPE_CHECKING:
    from .load import Sweep

_METRICS = ("test/score", "test/success")
NUM_SAID = 3  # cautions on the terminal; the page has all
_EXTRA = ("jinja2", "matplotlib", "pandas")  # of the optional dependencies "analysis"


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the report is written, 2 on bad input, reported in one line."""
    options = _parser().parse_args(arguments)
    named = ([options.name] if options.name else []) + options.sweep
    sweeps = [name for names in named for name in names.split(",") if name]
    if options.run is not None and (sweeps or options.runs is not None):
        raise UserError("is one run, alone", where=f"--run {options.run}", remedy="--runs selects several")
    place = (options.root, options.tracking_uri, options.out)
    with installed("report"), uncollected():
        print(write_report(sweeps, options.runs, options.run, *place, options.metric, options.x))
    return 0


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Within, no search for unreachable cycles: a report makes a million objects that live to its end."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def installed(command: str) -> Iterator[None]:
    """Say in one line what to install where an optional dependency is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        remedy = "pip install 'webshop-rl[analysis]'"
        raise UserError(f"{error.name} is not installed", where=command, remedy=remedy) from error


def replay(root: Path) -> bool:
    """Have the root's MLflow take what its runs' journals have and it has not; it is made if need be.

    Returns: whether the tracker takes what is sent from here.
    """
    return replaying(root)()


def replaying(root: Path) -> Callable[[], bool]:
    """Begin to replay, as this process imports what it needs.

    A process of its own: the platform's room of tracking is not the analysis' to import. What goes
    wrong is reported, and the report is made of what MLflow has.
    Returns: waits for it, and returns what replay does.
    """
    from .tracker import tracker_uri

    if not any(run.journal.is_file() for run in Root(root).all_runs()):
        return lambda: False
    command = [sys.executable, "-m", "webshop_rl.tracking.sync", str(root)]
    command += ["--tracking-uri", tracker_uri(root, None)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done() -> bool:
        said = "".join(process.communicate())
        if process.returncode != 0:
            print(f"not all of {root} is in MLflow yet:\n{said}", file=sys.stderr)
        return process.returncode == 0

    return done


def write_report(
    sweeps: Sequence[str],
    query: str | None,
    run: str | None,
    root: Path,
    uri: str | None,
    out: Path | None,
    metric: str,
    x: str = "updates",
) -> str:
    """Write the report of sweeps or runs and print its first screen; returns where the page is.

    Args:
        sweeps: names, or ids of parent runs; none for the newest, or with a query for all.
        query: which of their runs, see selection.
        run: the name of a run, which is reported alone.
        root: folder of the runs, with mlflow.db.
        uri: tracker to read instead.
        out: folder to write to; None for <root>/reports/<sweep>.
        metric: "test/score" or "test/success", by which arms are compared.
        x: what learning curves are drawn against, a key of axes.AXES.
    Raises: UserError if there is no such sweep, run or tracker, or out cannot be written.
    """
    say_step("reading the records")
    replayed = replaying(root) if uri is None else None
    # Imported late: --help must answer without loading mlflow, scipy and matplotlib.
    from rich.console import Console

    from webshop_rl.tracking.client import preload

    from .arms import arms_of
    from .aside import aside
    from .attach import attach
    from .building import build_report, curves_needed, write_files
    from .checkpoints import ends_of
    from .comparison import compare
    from .evidence import links_of
    from .frames import write_curves
    from .load import load_curves, load_evaluations, load_run
    from .readers import episode_reader, goal_reader
    from .selection import load_chosen
    from .survey import survey
    from .tracker import is_file, open_tracker, tracker_uri

    if replayed is not None:
        preload()
    address = tracker_uri(root, uri)
    writable = address.startswith("http") if replayed is None else replayed()
    own = root if uri is None else None
    client = open_tracker(address)
    if run is None:
        sweep = load_chosen(client, address, sweeps, query, root=own)
    else:
        sweep = load_run(client, address, run)
    if not sweep.runs and not sweep.to_come:
        raise UserError(
            "contains no run", where=f"sweep {sweep.name}", remedy="webshop-rl status says what became of it"
        )
    num_runs = len(sweep.runs)
    say_step(f"comparing {num_runs} run{'s' if num_runs != 1 else ''}")
    folder = writable_folder(out or Root(root).reports / _folder_name(sweep.name, query))
    arms = arms_of(sweep.runs)
    reading = partial(load_curves, client, address, sweep.runs, curves_needed(arms, x))
    # The client's connection to a server is not to be shared with another process.
    loaded = aside(reading) if is_file(address) else reading
    comparisons = compare(arms, metric, goal_reader(client, address, metric, own))
    played = survey(arms, episode_reader(client, address, own))
    curves = loaded()
    written = aside(partial(write_curves, arms, curves, folder / "curves.csv"))
    say_step("drawing and writing the page")
    ends = ends_of(sweep.runs, curves, load_evaluations(client, address))
    links = links_of(sweep.runs, folder, own, address)
    title = _title(sweep, sweeps, query, run)
    report = build_report(
        title, sweep, arms, comparisons, curves, played, ends, axis=x, folder=folder, links=links
    )
    page = write_files(report, arms, comparisons, ends, folder)
    written()
    if writable and sweep.parent_id:
        attach(client, sweep.parent_id, report, folder)
    console = Console(highlight=False, width=table_width())
    console.print(report.headline, markup=False)
    for table in report.terminal(console.width):
        console.print(table)
    for caution in report.cautions[:NUM_SAID]:
        console.print(f"caution: {caution}", markup=False)
    return str(page)


def _title(sweep: Sweep, sweeps: Sequence[str], query: str | None, run: str | None) -> str:
    if run is not None:
        return f"Run {run}"
    if query is not None and not sweeps:
        return f"Runs with {query}"
    which = f"Sweep{'s' if len(sweeps) > 1 else ''} {sweep.name.replace('+', ', ')}"
    return which if query is None else f"{which}: runs with {query}"


def _folder_name(name: str, query: str | None) -> str:
    """Of a report: the sweep's name, or words of the query with a digest of it, for its signs are lost."""
    if query is not None:
        digest = hashlib.sha256(query.encode()).hexdigest()[:6]
        name = f"{name}-{query[:60]}-{digest}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", name).lstrip(".")


def writable_folder(path: Path) -> Path:
    """The folder, made if need be. Raises: UserError if it cannot be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="--out FOLDER"
        ) from error
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} report",
        description="Compare a sweep's runs: a verdict, tables with intervals, learning curves, failures.",
        epilog="Without a sweep the newest is reported. How the numbers are made: docs/analysis.md.",
    )
    parser.add_argument("name", nargs="?", metavar="SWEEP", help="the sweep, as printed when it was launched")
    parser.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="SWEEP",
        help="the same; several (--sweep A --sweep B, or A,B) are reported side by side",
    )
    parser.add_argument(
        "--runs",
        metavar="QUERY",
        help="the runs that fit, of the sweep or of all: 'algo=ppo,apo_pg lr<=1e-5 test/success>0.2'",
    )
    parser.add_argument(
        "--run", metavar="RUN", help="one run alone: the name of its folder, or its first letters"
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--root", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of the runs (default: runs)"
    )
    place.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow server, or sqlite:///FILE, to read instead"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write (default: ROOT/reports/NAME)"
    )
    parser.add_argument(
        "--metric",
        choices=_METRICS,
        default="test/score",
        help="what arms are compared by (default: test/score)",
    )
    parser.add_argument(
        "--x",
        choices=tuple(AXES),
        default="updates",
        help="what learning curves are drawn against (default: updates)",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
