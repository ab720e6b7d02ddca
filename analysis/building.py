"""Puts a report together from what was loaded: tables, figures, cautions, files."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from . import arm_figures, figures, goal_figures, reach
from .arms import Arm, shared_by_arms
from .axes import AXES, SHOWN, Axis
from .cautions import cautions
from .checkpoints import Ends, ends_table
from .comparison import Comparison
from .cost import COSTS, cost_cells, cost_rows
from .drawing import Picture, picture
from .failures import failures_markdown
from .frames import frames, write_curves
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

_COST_AXES = (
    ("time/gpu_hours", "GPU-hours"),
    ("time/train_s", "seconds of training"),
    ("train/tokens", "reply tokens"),
)
# What shows that a baseline or a reference went wrong, and what a curriculum did.
_HEALTH = (
    "vstar/mean",
    "algo/advantage_std",
    "optim/grad_norm",
    "curriculum/stage",
    "curriculum/success",
)


def curves_needed(arms: Sequence[Arm], axis: str) -> list[str]:
    """Metrics whose whole histories a report of these arms is made of; axis: a key of axes.AXES."""
    of_axes = [name for key in (axis, *SHOWN, *reach.AXES_READ) for name in AXES[key].metrics]
    stages = [f"stage/{s}/{what}" for s in figures.stages_of(arms) for what in figures.STAGE_CURVES]
    return list(dict.fromkeys((*figures.CURVES, *_HEALTH, *of_axes, *stages)))


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
    reached = {str(run): int(step) for run, step in curves.groupby("run_id")["step"].max().items()}
    made = (comparison_table, pairs_table, products_table, stages_table)
    tables = [make(comparison) for comparison in comparisons for make in made]
    lost = unfinished_table(sweep, arms, reached, links)
    soon = [soon_of(comparison, curves) for comparison in comparisons]
    drawn = folder / "figures"
    bars = picture(
        partial(_reasons, reasons, tested),
        "Why test episodes failed: the share of each arm's episodes, by reason."
        + _leading(len(reasons), arm_figures.MAX_ARMS),
        drawn / "reasons",
        pd.DataFrame(
            [
                {"arm": a, "episodes": tested[a], **{str(k): n for k, n in c.items()}}
                for a, c in reasons.items()
            ]
        ),
    )
    return Report(
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
        first_pictures=_first(comparisons, drawn),
        reason_pictures=[bars] if bars else [],
        learning=_learning_pictures(ranked, curves, axis, drawn),
        pictures=[
            *_arm_pictures(comparisons, drawn),
            *_stage_pictures(ranked, curves, AXES[axis], drawn),
            *_curve_pictures(ranked, curves, (*figures.CURVES[1:], *_HEALTH), AXES[axis], drawn),
        ],
        played=played,
    )


def write_files(
    report: Report,
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    curves: pd.DataFrame,
    ends: Mapping[str, Ends],
    folder: Path,
) -> Path:
    """Write every file of the report but the figures; returns the page."""
    for file, frame in frames(arms, comparisons, reasons_by_arm(report.played), ends).items():
        frame.to_csv(folder / f"{file}.csv", index=False)
    write_curves(arms, curves, folder / "curves.csv")
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
    note += "machine shows it (docs/analysis.md), of CPUs that of the whole machine."
    return Table("Cost", columns, rows, note) if rows else None


def _solved(played: Sequence[Played], comparisons: Sequence[Comparison]) -> Table | None:
    instructions = {episode.goal: episode.instruction for episode in played}
    labels = [result.arm.label for comparison in comparisons for result in comparison.results]
    return solved_table(success_by_goal(played), instructions, labels)


def _reasons(reasons: Mapping[str, Counter[str]], tested: Mapping[str, int], width: float) -> object:
    return arm_figures.reasons_figure(reasons, tested, width)


def _leading(num: int, limit: int, what: str = "arms", file: str = "summary.csv") -> str:
    """What a caption adds where a figure has no room for all."""
    return f" The {limit} leading {what}; {num - limit} more in {file}." if num > limit else ""


def _first(comparisons: Sequence[Comparison], folder: Path) -> list[Picture]:
    found = []
    for number, comparison in enumerate(comparisons, 1):
        caption = (
            "Each run (dot), the mean of an arm (diamond) with its 95 % interval over seeds (bar), and what "
        )
        caption += "was not trained (lines)."
        caption += f" Test set {number}." if len(comparisons) > 1 else ""
        caption += _leading(len(comparison.results), arm_figures.MAX_ARMS)
        numbers = arm_figures.reached_numbers(comparison)
        found.append(
            picture(
                partial(arm_figures.reached_figure, comparison), caption, folder / f"final_{number}", numbers
            )
        )
    return [made for made in found if made]


def _arm_pictures(comparisons: Sequence[Comparison], folder: Path) -> list[Picture]:
    found = []
    for number, comparison in enumerate(comparisons, 1):
        num = len(comparison.results)
        for key in arm_figures.swept_keys([result.arm for result in comparison.results]):
            found.append(
                picture(
                    partial(arm_figures.sensitivity_figure, comparison, key),
                    f"{comparison.metric} against {key}: mean and 95 % interval over seeds."
                    + _leading(arm_figures.num_lines(comparison, key), arm_figures.MAX_LINES, "settings"),
                    folder / f"sensitivity_{number}_{key.replace('.', '_')}",
                    arm_figures.sensitivity_numbers(comparison, key),
                )
            )
        for metric, label in _COST_AXES:
            found.append(
                picture(
                    lambda width, c=comparison, m=metric, la=label: arm_figures.cost_figure(c, m, la, width),
                    f"Success against {label}; the line joins the arms that no other beats at less cost."
                    + _leading(num, arm_figures.MAX_ARMS),
                    folder / f"cost_{number}_{metric.replace('/', '_')}",
                    arm_figures.cost_numbers(comparison, metric),
                )
            )
        found.append(
            picture(
                partial(arm_figures.profile_figure, comparison),
                f"Performance profiles: share of goals on which an arm reaches a {comparison.metric}."
                + _leading(num, arm_figures.MAX_LINES),
                folder / f"profile_{number}",
                arm_figures.profile_numbers(comparison),
            )
        )
        goals = goal_figures.goal_numbers(comparison)
        found.append(
            picture(
                partial(goal_figures.goals_figure, goals, comparison.metric),
                goal_figures.caption(comparison, goals),
                folder / f"goals_{number}",
                goal_figures.shown_goals(goals).reset_index(),
            )
        )
    return [made for made in found if made]


def _curve_pictures(
    arms: Sequence[Arm], curves: pd.DataFrame, metrics: Sequence[str], axis: Axis, folder: Path
) -> list[Picture]:
    found = [_curve(arms, curves, metric, axis, folder / metric.replace("/", "_")) for metric in metrics]
    return [made for made in found if made]


def _learning_pictures(
    arms: Sequence[Arm], curves: pd.DataFrame, axis: str, folder: Path
) -> list[tuple[str, Picture]]:
    """The first curve against the axis that was asked for, and against what else a reader weighs it by."""
    metric = figures.CURVES[0]
    found = []
    for name in dict.fromkeys((axis, *SHOWN)):
        place = folder / (metric.replace("/", "_") + ("" if name == axis else f"_{name}"))
        made = _curve(arms, curves, metric, AXES[name], place)
        if made:
            found.append((AXES[name].label, made))
    return found


def _curve(arms: Sequence[Arm], curves: pd.DataFrame, metric: str, axis: Axis, path: Path) -> Picture | None:
    points = figures.placed(curves, metric, axis)
    caption = (
        f"{metric} against {axis.label}: each run (thin), mean of an arm (thick) between its lowest and "
    )
    caption += "highest run; a cross ends a run that did not finish."
    if len(arms) > figures.MAX_TOGETHER:
        caption += f" Behind each arm, in grey, {figures.behind(arms)}."
    caption += _leading(len(arms), figures.MAX_PANELS, file="curves.csv")
    draw = partial(figures.placed_figure, arms, points, metric, axis)
    return picture(draw, caption, path, figures.shown_numbers(arms, points))


def _stage_pictures(arms: Sequence[Arm], curves: pd.DataFrame, axis: Axis, folder: Path) -> list[Picture]:
    """Success and forgetting of each stage of a curriculum; none without one."""
    found = []
    for what in figures.STAGE_CURVES:
        metrics = [f"stage/{stage}/{what}" for stage in figures.stages_of(arms)]
        own = curves[curves["metric"].isin({*metrics, *axis.metrics})]
        caption = (
            f"{what} of each stage of the curriculum against {axis.label}, on validation goals: mean of "
        )
        caption += "an arm between its lowest and highest run."
        caption += " What a stage has lost of its best so far." if what == "forgetting" else ""
        caption += _leading(len(arms), figures.MAX_TOGETHER, file="curves.csv")
        draw = partial(figures.stages_figure, arms, own, what, axis)
        numbers = pd.concat([figures.placed(own, m, axis).assign(metric=m) for m in metrics] or [own])
        found.append(picture(draw, caption, folder / f"stages_{what}", numbers))
    return [made for made in found if made]
