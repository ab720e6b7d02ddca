"""Two runs or two arms beside each other: `webshop-rl compare A B`.

Writes compare.html and compare.md, and prints the tables.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from webshop_rl.cli import command, invocation
from webshop_rl.errors import UserError
from webshop_rl.screen import say_step, table_width
from webshop_rl.storage.folders import Root

from .report import installed, replay, writable_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from .arms import Arm


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """0 if the comparison is written, 2 on bad input, reported in one line."""
    options = _parser().parse_args(arguments)
    with installed("compare"):
        print(
            write_comparison(
                options.a, options.b, options.sweep, options.root, options.tracking_uri, options.out
            )
        )
    return 0


def write_comparison(a: str, b: str, sweep: str | None, root: Path, uri: str | None, out: Path | None) -> str:
    """Compare two sides and print the tables; returns where the page is.

    Args:
        a, b: each the name of a run's folder (its first letters do), or an arm of the sweep: words that
            only its label has, "apo_pg 1e-05".
        sweep: whose arms are meant; None is the newest.
    Raises: UserError if a side is no run and no arm, or the two are one.
    """
    from rich.console import Console

    from .comparison import METRICS, compare
    from .page import comparison_html, rich_table
    from .readers import episode_reader, goal_reader
    from .sides import configuration_table, flipped_tables, metrics_table, side_by_side
    from .survey import survey
    from .tracker import open_tracker, tracker_uri

    say_step("reading the records")
    if uri is None:
        replay(root)
    address, own = tracker_uri(root, uri), root if uri is None else None
    client = open_tracker(address)
    sides = [_side(client, address, name, sweep, own) for name in (a, b)]
    if {run.run_id for run in sides[0].runs} & {run.run_id for run in sides[1].runs}:
        raise UserError("both are the same, or share a run", where=f"{a} {b}", remedy="name two that differ")
    say_step("comparing")
    found = [compare(sides, metric, goal_reader(client, address, metric, own)) for metric in METRICS]
    same = [comparisons[0] for comparisons in found if len(comparisons) == 1]
    played = survey(sides, episode_reader(client, address, own), samples=None)
    tables = [configuration_table(*sides)]
    if same and all(side.finished for side in sides):
        tables += [metrics_table(*sides, same), *flipped_tables(*sides, played)]
    title = f"{sides[0].label} and {sides[1].label}"
    headline = _headline(sides, same)
    folder = writable_folder(out or Root(root).reports / re.sub(r"[^A-Za-z0-9_.-]", "_", f"compare_{a}_{b}"))
    page = folder / "compare.html"
    page.write_text(comparison_html(title, headline, tables, side_by_side(*sides, played)), encoding="utf-8")
    text = "\n\n".join([f"# {title}", headline, *(table.markdown() for table in tables)])
    (folder / "compare.md").write_text(f"{text}\n", encoding="utf-8")
    console = Console(highlight=False, width=table_width())
    console.print(headline, markup=False)
    for table in tables:
        console.print(rich_table(table))
    return str(page)


def _headline(sides: Sequence[Arm], comparisons: Sequence[object]) -> str:
    """What the pair allows one to say."""
    from .advice import seed_advice
    from .comparison import Comparison
    from .verdict import finding

    unfinished = [side.label for side in sides if not side.finished]
    if unfinished:
        return f"{' and '.join(unfinished)}: no finished run, so only the configurations are compared."
    if not comparisons:
        return "They were tested on different episodes: their metrics and goals are not compared."
    last = comparisons[-1]
    assert isinstance(last, Comparison)
    (pair,) = last.pairs
    if pair.level:
        value = last.leader.means[last.metric].value
        return f"By {last.metric}: both have {value:.3f}{', the highest there is' if last.full else ''}."
    advice = seed_advice(pair, last)
    said = f"By {last.metric}: {finding(pair, last)}"
    return f"{said}; {advice}." if advice else f"{said}."


def _side(client: MlflowClient, uri: str, name: str, sweep: str | None, root: Path | None) -> Arm:
    """A run by its name, or an arm of the sweep by words of its label."""
    from .arms import Arm, arms_of
    from .load import NoSweep, load_run, load_sweep

    try:
        (run,) = load_run(client, uri, name).runs
        return Arm(f"run {run.folder_name}", {}, [run])
    except UserError as no_run:
        try:
            arms = arms_of(load_sweep(client, uri, sweep, root=root).runs)
        except NoSweep:
            arms = []
        exact = [arm for arm in arms if arm.label == name]
        fitting = exact or [arm for arm in arms if all(_has(arm.label, word) for word in name.split())]
        if len(fitting) != 1:
            listed = "; ".join(arm.label for arm in (fitting or arms)[:8])
            what = "several arms fit" if fitting else "is neither a run nor an arm"
            remedy = f"arms: {listed}" if listed else "webshop-rl status lists the runs"
            raise UserError(what, where=name, remedy=remedy) from no_run
        return fitting[0]


def _has(label: str, word: str) -> bool:
    return any(word in (setting, setting.partition("=")[2]) for setting in label.split())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{invocation()} compare",
        description="Two runs or two arms: configuration, metrics, goals that flipped, trajectories.",
    )
    for name in ("a", "b"):
        help_text = 'name of a run\'s folder (its first letters), or an arm: "algo=ppo lr=1e-05", "ppo 1e-05"'
        parser.add_argument(name, metavar=name.upper(), help=help_text)
    parser.add_argument("--sweep", metavar="SWEEP", help="whose arms are meant (default: the newest)")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--root", type=Path, default=Path("runs"), metavar="FOLDER", help="folder of the runs")
    place.add_argument(
        "--tracking-uri", metavar="URI", help="MLflow server, or sqlite:///FILE, to read instead"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write (default: ROOT/reports/compare_A_B)"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
