"""Puts a report together from what was loaded: tables, figures, cautions, files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from . import pictures, reach
from .arms import Arm, shared_by_arms
from .axes import AXES
from .cautions import cautions
from .checkpoints import Ends, ends_table
from .comparison import Comparison
from .cost import COSTS, WALL_TIME, cost_cells, cost_rows
from .failures import failures_markdown
from .frames import frames
from .headline import headline
from .load import Sweep
from .page import Report
from .soon import soon_of, soon_table
from .survey import Played, reasons_by_arm, success_by_goal
from .tables import (
    Table,
    comparison_table,
    pairs_table,
    products_table,
    provenance_table,
    reasons_table,
    revision_of,
    runs_table,
    solved_table,
    stages_table,
    summary_table,
    unfinished_table,
)
from .verdict import verdict


def curves_needed(arms: Sequence[Arm], axis: str) -> list[str]:
    """Metrics whose whole histories a report of these arms is made of; axis: a key of axes.AXES."""
    of_reach = [name for key in reach.AXES_READ for name in AXES[key].metrics]
    return list(dict.fromkeys((*pictures.curves_drawn(arms, axis), *of_reach)))


def build_report(
    title: str,
    sweep: Sweep,
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    curves: pd.DataFrame,
    played: Sequence[Played],
    ends: Mapping[str, Ends],
    *,
    axis: str,
    folder: Path,
    links: Mapping[str, str],
) -> Report:
    """The report, its figures written below folder.

    Args:
        curves: from load.load_curves, of curves_needed.
        ends: what the best and the final checkpoints reached, by run id.
        axis: what learning curves are drawn against, a key of axes.AXES.
        links: from evidence.links_of.
    """
    counted = reasons_by_arm(played)
    # In the order of the results, so that what a figure has room for are the leading arms.
    results = [result.arm for comparison in comparisons for result in comparison.results]
    ranked = [*results, *(arm for arm in arms if arm not in results)]
    reasons = {arm.label: counted[arm.label] for arm in ranked if arm.label in counted}
    tested = Counter(episode.arm for episode in played)
    # Drawn by other processes while the tables are made here.
    drawing = pictures.draw_report(ranked, comparisons, curves, axis, reasons, tested, folder / "figures")
    reached = {str(run): int(step) for run, step in curves.groupby("run_id")["step"].max().items()}
    made = (comparison_table, pairs_table, products_table, stages_table)
    tables = [make(comparison) for comparison in comparisons for make in made]
    lost = unfinished_table(sweep, arms, reached, links)
    soon = [soon_of(comparison, curves) for comparison in comparisons]
    report = Report(
        title=title,
        headline=headline(sweep, comparisons, soon),
        verdict=verdict(sweep, comparisons),
        first=[summary_table(c, reasons, cost=cost_cells(arms)) for c in comparisons],
        cautions=cautions(sweep, arms, comparisons),
        metric=comparisons[0].metric if comparisons else "",
        shared=shared_by_arms(arms),
        commands=list(sweep.commands.values()),
        revision=revision_of(sweep.runs),
        tables=[
            t for t in (*map(soon_table, soon), cost_table(arms), ends_table(arms, ends), *tables, lost) if t
        ],
        folded=[runs_table(arms, reached, links), provenance_table(sweep, comparisons)],
        reason_tables=[t for t in (reasons_table(reasons, tested), _solved(played, comparisons)) if t],
        played=played,
    )
    drawn = drawing()
    return replace(
        report,
        first_pictures=drawn.first,
        reason_pictures=drawn.reasons,
        learning=drawn.learning,
        pictures=drawn.others,
    )


def write_files(
    report: Report,
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    ends: Mapping[str, Ends],
    folder: Path,
) -> Path:
    """Write every file of the report but the figures and curves.csv; returns the page."""
    for file, frame in frames(arms, comparisons, reasons_by_arm(report.played), ends).items():
        frame.to_csv(folder / f"{file}.csv", index=False)
    lines = "".join(json.dumps(episode.row(), ensure_ascii=False) + "\n" for episode in report.played)
    (folder / "episodes.jsonl").write_text(lines, encoding="utf-8")
    (folder / "failures.md").write_text(failures_markdown(report.played), encoding="utf-8")
    (folder / "report.md").write_text(report.markdown(folder), encoding="utf-8")
    slides(report, arms, folder / "slides.pptx")
    page = folder / "report.html"
    page.write_text(report.html(), encoding="utf-8")
    return page


def slides(report: Report, arms: Sequence[Arm], path: Path) -> None:
    """Write the slides, or say what is missing: the report is whole without them."""
    try:
        from .slides import write_slides
    except ModuleNotFoundError as error:
        remedy = "pip install 'webshop-rl[analysis]'"
        print(f"{path.name} is not written: {error.name} is not installed ({remedy})", file=sys.stderr)
        return
    write_slides(
        path,
        title=report.title,
        headline=report.headline,
        settings=_settings(arms),
        table=next(iter(report.first), None),
        pictures=[*report.first_pictures[:1], *report.reason_pictures],
        cautions=[str(caution) for caution in report.cautions],
    )


def _settings(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """What was run, in a few lines: keys that all arms share, and the arms."""
    lines = []
    for name, key in (
        ("Shop", "env.name"),
        ("Model", "model.name"),
        ("Split", "env.split"),
        ("Updates", "num_updates"),
    ):
        values = dict.fromkeys(arm.param(key) for arm in arms)
        lines.append((name, ", ".join(value for value in values if value) or "not recorded"))
    seeds = sorted({run.seed for arm in arms for run in arm.runs})
    return [*lines, ("Arms", "; ".join(arm.label for arm in arms)), ("Seeds", ", ".join(seeds))]


def cost_table(arms: Sequence[Arm]) -> Table | None:
    """What each arm cost; None if no run finished."""
    rows = cost_rows(arms)
    columns = ["arm", *(cost.column for cost in COSTS)]
    note = "Means of an arm's finished runs; - where one of them did not log it: energy is logged where the "
    note += "machine shows it (docs/analysis.md), of CPUs that of the whole machine. "
    note += f"Hours are {WALL_TIME}."
    return Table("Cost", columns, rows, note) if rows else None


def _solved(played: Sequence[Played], comparisons: Sequence[Comparison]) -> Table | None:
    instructions = {episode.goal: episode.instruction for episode in played}
    labels = [result.arm.label for comparison in comparisons for result in comparison.results]
    return solved_table(success_by_goal(played), instructions, labels)
