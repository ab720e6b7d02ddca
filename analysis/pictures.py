"""The figures of a report: which there are, what each shows, and where it is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import pandas as pd

from . import arm_figures, figures, goal_figures
from .arms import Arm
from .axes import AXES, SHOWN, Axis
from .comparison import Comparison
from .drawing import Picture, Wanted, drawing

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


@dataclass(frozen=True)
class Drawn:
    """The figures of a report.

    Attributes:
        first: of its first screen.
        reasons: why episodes failed.
        learning: (what it is drawn against, the learning curves).
        others: what follows.
    """

    first: list[Picture]
    reasons: list[Picture]
    learning: list[tuple[str, Picture]]
    others: list[Picture]


def curves_drawn(arms: Sequence[Arm], axis: str) -> list[str]:
    """Metrics whose whole histories are drawn; axis: a key of axes.AXES."""
    of_axes = [name for key in (axis, *SHOWN) for name in AXES[key].metrics]
    stages = [f"stage/{s}/{what}" for s in figures.stages_of(arms) for what in figures.STAGE_CURVES]
    return [*figures.CURVES, *_HEALTH, *of_axes, *stages]


def draw_report(
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    curves: pd.DataFrame,
    axis: str,
    reasons: Mapping[str, Counter[str]],
    tested: Mapping[str, int],
    folder: Path,
) -> Callable[[], Drawn]:
    """Begin to draw and write all figures.

    Args:
        arms: in the order of the results, so that what a figure has room for are the leading ones.
        curves: from load.load_curves, of curves_drawn.
        axis: what learning curves are drawn against, a key of axes.AXES.
        reasons: how many test episodes of each arm failed for each reason.
        tested: how many each played.
        folder: to write to.
    Returns: waits until they are written.
    """
    learning = _learning(arms, curves, axis, folder)
    others = [
        *_of_arms(comparisons, folder),
        *_stages(arms, curves, AXES[axis], folder),
        *_curves(arms, curves, (*figures.CURVES[1:], *_HEALTH), AXES[axis], folder),
    ]
    sections = (
        _first(comparisons, folder),
        [_reasons(reasons, tested, folder)],
        [w for _, w in learning],
        others,
    )
    begun = drawing(list(chain(*sections)))

    def drawn() -> Drawn:
        made = iter(begun())
        first, bars, curves_made, rest = ([next(made) for _ in section] for section in sections)
        return Drawn(
            first=[own for own in first if own],
            reasons=[own for own in bars if own],
            learning=[(label, own) for (label, _), own in zip(learning, curves_made, strict=True) if own],
            others=[own for own in rest if own],
        )

    return drawn


def _reasons(reasons: Mapping[str, Counter[str]], tested: Mapping[str, int], folder: Path) -> Wanted:
    rows = [
        {"arm": arm, "episodes": tested[arm], **{str(reason): num for reason, num in counted.items()}}
        for arm, counted in reasons.items()
    ]
    return Wanted(
        partial(arm_figures.reasons_figure, reasons, tested),
        "Why test episodes failed: the share of each arm's episodes, by reason."
        + _leading(len(reasons), arm_figures.MAX_ARMS),
        folder / "reasons",
        pd.DataFrame(rows),
    )


def _leading(num: int, limit: int, what: str = "arms", file: str = "summary.csv") -> str:
    """What a caption adds where a figure has no room for all."""
    return f" The {limit} leading {what}; {num - limit} more in {file}." if num > limit else ""


def _first(comparisons: Sequence[Comparison], folder: Path) -> list[Wanted]:
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
            Wanted(
                partial(arm_figures.reached_figure, comparison), caption, folder / f"final_{number}", numbers
            )
        )
    return found


def _of_arms(comparisons: Sequence[Comparison], folder: Path) -> list[Wanted]:
    found = []
    for number, comparison in enumerate(comparisons, 1):
        num = len(comparison.results)
        for key in arm_figures.swept_keys([result.arm for result in comparison.results]):
            found.append(
                Wanted(
                    partial(arm_figures.sensitivity_figure, comparison, key),
                    f"{comparison.metric} against {key}: mean and 95 % interval over seeds."
                    + _leading(arm_figures.num_lines(comparison, key), arm_figures.MAX_LINES, "settings"),
                    folder / f"sensitivity_{number}_{key.replace('.', '_')}",
                    arm_figures.sensitivity_numbers(comparison, key),
                )
            )
        for metric, label in _COST_AXES:
            found.append(
                Wanted(
                    partial(arm_figures.cost_figure, comparison, metric, label),
                    f"Success against {label}; the line joins the arms that no other beats at less cost."
                    + _leading(num, arm_figures.MAX_ARMS),
                    folder / f"cost_{number}_{metric.replace('/', '_')}",
                    arm_figures.cost_numbers(comparison, metric),
                )
            )
        found.append(
            Wanted(
                partial(arm_figures.profile_figure, comparison),
                f"Performance profiles: share of goals on which an arm reaches a {comparison.metric}."
                + _leading(num, arm_figures.MAX_LINES),
                folder / f"profile_{number}",
                arm_figures.profile_numbers(comparison),
            )
        )
        goals = goal_figures.goal_numbers(comparison)
        found.append(
            Wanted(
                partial(goal_figures.goals_figure, goals, comparison.metric),
                goal_figures.caption(comparison, goals),
                folder / f"goals_{number}",
                goal_figures.shown_goals(goals).reset_index(),
            )
        )
    return found


def _curves(
    arms: Sequence[Arm], curves: pd.DataFrame, metrics: Sequence[str], axis: Axis, folder: Path
) -> list[Wanted]:
    return [_curve(arms, curves, metric, axis, folder / metric.replace("/", "_")) for metric in metrics]


def _learning(arms: Sequence[Arm], curves: pd.DataFrame, axis: str, folder: Path) -> list[tuple[str, Wanted]]:
    """The first curve against the axis that was asked for, in panels where there are many arms, and against
    what else a reader weighs it by."""
    metric = figures.CURVES[0]
    found = []
    for name in dict.fromkeys((axis, *SHOWN)):
        chosen = name == axis
        place = folder / (metric.replace("/", "_") + ("" if chosen else f"_{name}"))
        found.append((AXES[name].label, _curve(arms, curves, metric, AXES[name], place, panels=chosen)))
    return found


def _curve(
    arms: Sequence[Arm],
    curves: pd.DataFrame,
    metric: str,
    axis: Axis,
    path: Path,
    *,
    panels: bool = False,
) -> Wanted:
    """panels: whether many arms have one each; drawing them takes longer than all the rest of a report."""
    points = figures.placed(curves, metric, axis)
    caption = (
        f"{metric} against {axis.label}: each run (thin), mean of an arm (thick) between its lowest and "
    )
    caption += "highest run; a cross ends a run that did not finish."
    if len(arms) > figures.MAX_TOGETHER:
        caption += f" Behind {'each arm' if panels else 'the leading arms'}, in grey, {figures.behind(arms)}."
    room = figures.MAX_PANELS if panels else figures.MAX_TOGETHER
    caption += _leading(len(arms), room, file="curves.csv")
    draw = partial(figures.placed_figure, arms, points, metric, axis, panels=panels)
    return Wanted(draw, caption, path, figures.shown_numbers(arms, points, panels=panels))


def _stages(arms: Sequence[Arm], curves: pd.DataFrame, axis: Axis, folder: Path) -> list[Wanted]:
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
        found.append(Wanted(draw, caption, folder / f"stages_{what}", numbers))
    return found
