"""Learning curves of every run, against what was used up."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from webshop_rl.statistics import Floats
from webshop_rl.tracking.names import describe

from .arms import Arm
from .axes import UPDATES, Axis
from .drawing import COLOURS, DASHES, GRID, STYLE, WIDE, grid_of_panels, wrapped

CURVES = ("val/success", "train/return_mean")
STAGE_CURVES = ("val_success", "forgetting")  # of each stage of a curriculum
MAX_TOGETHER = 7  # arms in one panel
MAX_PANELS = 12  # of an arm each
MAX_GREY = 20  # runs behind each panel; more are a band
MAX_POINTS = 120  # of a run's line in a panel
_PANELS_A_ROW = 4

Lines = Mapping[str, pd.DataFrame]  # by run id, as `placed` gives them


def curve_figure(
    arms: Sequence[Arm], curves: pd.DataFrame, metric: str, axis: Axis = UPDATES, width: float = WIDE
) -> Figure | None:
    """Every run as a thin line, the mean of an arm's runs as a thick one, between the lowest and the highest.

    The mean is drawn where every run of the arm has a value, so that one that ended early does not bend
    it. A run that did not finish ends in a cross.

    Args:
        curves: from load.load_curves.
        metric: which of them.
        axis: what it is drawn against. The mean is taken update by update, of values and of places.
        width: inches.
    Returns: None if no run has a point.
    """
    return placed_figure(arms, placed(curves, metric, axis), metric, axis, width)


def placed_figure(
    arms: Sequence[Arm],
    points: pd.DataFrame,
    metric: str,
    axis: Axis,
    width: float = WIDE,
    *,
    panels: bool = True,
) -> Figure | None:
    """curve_figure of points from `placed`, which takes a while for a thousand runs.

    Args:
        panels: whether more than MAX_TOGETHER arms have a panel each; else those that lead have colours, and
            the others are grey.
    """
    known = set(points["run_id"].unique())
    drawn = [arm for arm in arms if any(run.run_id in known for run in arm.runs)]
    if not drawn:
        return None
    # Of a large sweep only what is drawn run by run is taken apart.
    lines = _by_run(shown_numbers(drawn, points, panels=panels) if _many(drawn) else points)
    span = _band(points) if _many(drawn) and len(drawn) > MAX_TOGETHER else None
    with mpl.rc_context(STYLE):
        if len(drawn) > MAX_TOGETHER and panels:
            return _panels(drawn, lines, span, metric, axis, width)
        return _together(drawn, lines, span, metric, axis, width)


def _together(
    arms: Sequence[Arm], lines: Lines, band: pd.DataFrame | None, metric: str, axis: Axis, width: float
) -> Figure:
    """The leading MAX_TOGETHER arms in one panel, the others in grey behind them, or the span of all runs."""
    shown = arms[:MAX_TOGETHER]
    height = 3.6 if width >= WIDE else 3.0 + 0.3 * len(shown)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    if band is not None:
        lines = {run_id: _thinned(line) for run_id, line in lines.items()}
        axes.fill_between(band["place"], band["low"], band["high"], color=GRID, lw=0)
    else:
        for other in arms[MAX_TOGETHER:]:
            _draw(axes, other, lines, GRID, mean=False)
    for arm, colour, dash in zip(shown, COLOURS, DASHES, strict=False):
        _draw(axes, arm, lines, colour, dash=dash, label=wrapped(arm.label))
    _label(axes, metric, axis)
    figure.legend(loc="outside right upper" if width >= WIDE else "outside lower left")
    return figure


def placed(curves: pd.DataFrame, metric: str, axis: Axis) -> pd.DataFrame:
    """The points of a metric with their places on an axis.

    Args:
        curves: from load.load_curves, with the metrics of the axis.
    Returns: columns run_id, step, place, value. What a run had consumed at a step is what it logged last
        at or before it, nothing before its first update. A run that did not log it has no point.
    """
    columns = ["run_id", "step", "place", "value"]
    points = curves[curves["metric"] == metric]
    if not axis.metrics:
        return points.assign(place=points["step"].astype(float))[columns]
    points = points[["run_id", "step", "value"]].reset_index(drop=True)
    place = np.zeros(len(points))
    known = np.ones(len(points), dtype=bool)
    for name in axis.metrics:
        line = curves.loc[curves["metric"] == name, ["run_id", "step", "value"]]
        if line.empty or points.empty:
            return pd.DataFrame(columns=columns)
        place += _last_at(points, line)
        known &= points["run_id"].isin(line["run_id"].unique()).to_numpy()
    return points.assign(place=place / axis.divisor)[columns][known]


def _last_at(points: pd.DataFrame, line: pd.DataFrame) -> Floats:
    """Of each point the value that its run logged last at or before its step; 0 where there is none.

    Runs and steps are one number, run by run, so that a search in one sorted array answers for all runs.
    """
    run, _ = pd.factorize(pd.concat([points["run_id"], line["run_id"]]))
    steps = np.concatenate([points["step"], line["step"]])
    lowest = steps.min()
    key = run * (steps.max() - lowest + 1) + steps - lowest
    asked, logged = key[: len(points)], key[len(points) :]
    order = np.argsort(logged, kind="stable")
    found = np.searchsorted(logged[order], asked, side="right") - 1
    last = order[np.maximum(found, 0)]
    own = (found >= 0) & (run[len(points) :][last] == run[: len(points)])
    values = line["value"].to_numpy(dtype=float)[last]
    return np.where(own & ~np.isnan(values), values, 0.0)


def shown_numbers(arms: Sequence[Arm], points: pd.DataFrame, *, panels: bool = True) -> pd.DataFrame:
    """What placed_figure shows run by run of points from `placed`: those of the arms that it has room for."""
    room = MAX_PANELS if panels else MAX_TOGETHER
    return points[points["run_id"].isin([run.run_id for arm in arms[:room] for run in arm.runs])]


def _by_run(points: pd.DataFrame) -> Lines:
    return dict(tuple(points.groupby("run_id", sort=False, observed=True)))


def _panels(
    arms: Sequence[Arm], lines: Lines, band: pd.DataFrame | None, metric: str, axis: Axis, width: float
) -> Figure:
    """A panel an arm, the others' runs in grey behind it, or the band between the lowest and the highest."""
    shown = arms[:MAX_PANELS]
    num_columns = _PANELS_A_ROW if width >= WIDE else _PANELS_A_ROW // 2
    num_rows = math.ceil(len(shown) / num_columns)
    titles = [wrapped(arm.label, 30) for arm in shown]
    title_lines = max(title.count("\n") + 1 for title in titles)
    figure, grid = grid_of_panels(num_rows, num_columns, width, title_lines)
    lines = {run_id: _thinned(line) for run_id, line in lines.items()}
    for axes, arm, title in zip(grid.flat, shown, titles, strict=False):
        if band is not None:
            axes.fill_between(band["place"], band["low"], band["high"], color=GRID, lw=0)
        else:
            for other in arms:
                if other is not arm:
                    _draw(axes, other, lines, GRID, mean=False)
        _draw(axes, arm, lines, COLOURS[0])
        axes.set_title(title, fontsize=8)
    for number, axes in enumerate(grid.flat[len(shown) :], len(shown)):
        axes.set_axis_off()
        grid.flat[number - num_columns].tick_params(labelbottom=True)  # nothing stands below it
    figure.supxlabel(axis.label)
    figure.supylabel(_unit(metric))
    return figure


def stages_of(arms: Sequence[Arm]) -> list[str]:
    """Names of all stages that the arms' curricula have, in their order."""
    stages = [stage for arm in arms for stage in json.loads(arm.param("curriculum.stages") or "[]")]
    return list(dict.fromkeys(str(stage["name"]) for stage in stages))


def stages_figure(
    arms: Sequence[Arm], curves: pd.DataFrame, what: str, axis: Axis = UPDATES, width: float = WIDE
) -> Figure | None:
    """A panel a stage of the curriculum, a line and a band an arm: the leading MAX_TOGETHER arms.

    Args:
        what: of STAGE_CURVES.
    Returns: None without a curriculum, or before its first evaluation.
    """
    stages = stages_of(arms)
    known: dict[str, Lines] = {}
    for stage in stages:
        points = placed(curves, f"stage/{stage}/{what}", axis)
        known[stage] = _by_run(points)
    drawn = [
        arm
        for arm in arms[:MAX_TOGETHER]
        if any(run.run_id in lines for run in arm.runs for lines in known.values())
    ]
    if not drawn:
        return None
    num_columns = min(len(stages), 3 if width >= WIDE else 2)
    num_rows = math.ceil(len(stages) / num_columns)
    legend = 0.25 * math.ceil(len(drawn) / (2 if width >= WIDE else 1))
    figure = Figure(figsize=(width, 2.0 * num_rows + 0.5 + legend), layout="constrained")
    grid = figure.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for axes, stage in zip(grid.flat, stages, strict=False):
        for arm, colour, dash in zip(drawn, COLOURS, DASHES, strict=False):
            _draw(axes, arm, known[stage], colour, dash=dash, label=wrapped(arm.label))
        axes.set_title(wrapped(stage, 30), fontsize=8)
        axes.set_ylim(-0.03, 1.03)
    for axes in grid.flat[len(stages) :]:
        axes.set_axis_off()
    figure.supxlabel(axis.label)
    figure.supylabel(f"{what} (fraction)")
    lines = {
        name: line for axes in grid.flat for line, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend([*lines.values()], [*lines], loc="outside lower center", ncols=2 if width >= WIDE else 1)
    return figure


def behind(arms: Sequence[Arm]) -> str:
    """What the grey of a panel is, in words."""
    return "the span of all runs" if _many(arms) else "the runs of the others"


def _many(arms: Sequence[Arm]) -> bool:
    return sum(len(arm.runs) for arm in arms) > MAX_GREY


def _band(points: pd.DataFrame) -> pd.DataFrame:
    """The lowest and the highest value of all runs, update by update: columns place, low, high."""
    by_step = points.groupby("step")
    values = by_step["value"]
    band = pd.DataFrame({"place": by_step["place"].mean(), "low": values.min(), "high": values.max()})
    return _thinned(band.sort_index())


def _thinned(line: pd.DataFrame) -> pd.DataFrame:
    """At most MAX_POINTS of a line's rows, the first and the last among them."""
    if len(line) <= MAX_POINTS:
        return line
    return line.iloc[np.unique(np.linspace(0, len(line) - 1, MAX_POINTS).round().astype(int))]


def _draw(
    axes: Axes,
    arm: Arm,
    known: Lines,
    colour: str,
    *,
    dash: str = "-",
    label: str = "",
    mean: bool = True,
) -> None:
    lines = []
    for run in arm.runs:
        if run.run_id in known:
            line = known[run.run_id]
            # Arrays, not columns: pandas takes longer than matplotlib.
            places, values = (line[name].to_numpy(dtype=float) for name in ("place", "value"))
            lines.append((line["step"].to_numpy(), places, values))
            alone = "." if len(line) == 1 else ""
            axes.plot(places, values, color=colour, lw=0.7, alpha=0.55, marker=alone)
            if not run.finished:
                axes.plot(places[-1], values[-1], "x", color=colour, markersize=6)
    if mean and lines:
        shared_places, shared_values = _at_shared_steps(lines)
        middle = shared_places.mean(axis=0).filled(np.nan)
        if len(lines) > 1:
            low, high = (end(axis=0).filled(np.nan) for end in (shared_values.min, shared_values.max))
            axes.fill_between(middle, low, high, color=colour, alpha=0.12, lw=0)
        axes.plot(
            middle,
            shared_values.mean(axis=0).filled(np.nan),
            color=colour,
            ls=dash,
            lw=2.2,
            label=label,
            marker="o" if len(middle) <= 15 else "",
            markersize=3,
        )


def _at_shared_steps(lines: Sequence[tuple[Any, Floats, Floats]]) -> tuple[Any, Any]:
    """Places and values, masked arrays [runs, steps], at the steps that every line has; NaN is masked.

    Args:
        lines: steps, each once, places and values of each.
    """
    steps = functools.reduce(np.intersect1d, [own for own, _, _ in lines])
    found = []
    for own, places, values in lines:
        order = np.argsort(own, kind="stable")
        at = order[np.searchsorted(own, steps, sorter=order)]
        found.append((places[at], values[at]))
    shared_places, shared_values = (np.ma.masked_invalid(np.array(rows)) for rows in zip(*found, strict=True))
    return shared_places, shared_values


def _label(axes: Axes, metric: str, axis: Axis) -> None:
    axes.set_xlabel(axis.label)
    if axis is UPDATES:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(_unit(metric))
    if describe(metric).unit in ("fraction", "score"):
        axes.set_ylim(-0.03, 1.03)


def _unit(metric: str) -> str:
    unit = describe(metric).unit
    return metric if metric.endswith(unit) else f"{metric} ({unit})"
