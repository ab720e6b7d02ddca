"""The figures of a report: learning curves of every run, and the final scores of the arms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from webshop_rl.tracking.names import describe

from .arms import Arm
from .axes import UPDATES, Axis
from .comparison import Comparison

CURVES = ("val/success", "train/return_mean")
# Okabe and Ito's colours, distinguished under every common colour blindness; yellow is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_DASHES = ("-", "--", "-.", ":")
MAX_TOGETHER = 7  # arms in one panel; more get a panel each
MAX_PANELS = 24
_PANELS_A_ROW = 4
_STYLE: Any = {
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "svg.hashsalt": "webshop-rl",  # the same numbers give the same file
}


def curve_figure(
    arms: Sequence[Arm], curves: pd.DataFrame, metric: str, axis: Axis = UPDATES
) -> Figure | None:
    """Every run as a thin line, the mean of an arm's runs as a thick one.

    The mean is drawn where every run of the arm has a value, so that one that ended early does not bend
    it. A run that did not finish ends in a cross.

    Args:
        curves: from load.load_curves.
        metric: which of them.
        axis: what it is drawn against. The mean is taken update by update, of values and of places.
    Returns: None if no run has a point.
    """
    points = placed(curves, metric, axis)
    drawn = [arm for arm in arms if points["run_id"].isin([r.run_id for r in arm.runs]).any()]
    if not drawn:
        return None
    with mpl.rc_context(_STYLE):
        if len(drawn) <= MAX_TOGETHER:
            figure = Figure(figsize=(7.2, 3.6), layout="constrained")
            axes = figure.subplots()
            for arm, colour in zip(drawn, COLOURS, strict=False):
                dash = _DASHES[drawn.index(arm) % len(_DASHES)]
                _draw(axes, arm, points, colour, dash=dash, label=_wrapped(arm.label))
            _label(axes, metric, axis)
            figure.legend(loc="outside right upper")
            return figure
        return _panels(drawn, points, metric, axis)


def score_figure(comparison: Comparison) -> Figure | None:
    """Each arm's runs as dots with their mean and its interval over seeds; what they must beat as lines.

    Returns: None if no arm has a finished run.
    """
    results = comparison.results[:40]
    if not results:
        return None
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.3 + 0.36 * len(results)), layout="constrained")
        axes = figure.subplots()
        for place, result in enumerate(results):
            estimate = result.means[comparison.metric]
            scores = result.arm.scores(comparison.metric)
            # Below the mean; runs of equal score lie beside each other, in an order that has no meaning.
            heights = place + 0.14 + 0.24 * np.arange(len(scores)) / len(scores)
            axes.plot(scores, heights, "o", color=COLOURS[1], markersize=3, alpha=0.8, zorder=2)
            if estimate.low is not None and estimate.high is not None:
                axes.plot(
                    [estimate.low, estimate.high], [place, place], color=COLOURS[0], lw=3, alpha=0.6, zorder=3
                )
            axes.plot([estimate.value], [place], "D", color=COLOURS[0], markersize=5, zorder=4)
        for yardstick, dash in zip(comparison.yardsticks, _DASHES * 10, strict=False):
            value = yardstick.score if comparison.metric == "test/score" else yardstick.success
            name = yardstick.name.removeprefix("baseline/")
            name += f" ({', '.join(yardstick.arms)})" if yardstick.arms else ""
            axes.axvline(
                value, color="#555555", ls=dash, lw=1.2, label=f"{_wrapped(name)} {value:.2f}", zorder=1
            )
        axes.set_yticks(range(len(results)), [_wrapped(r.arm.label) for r in results])
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel(f"{comparison.metric}: runs, mean, interval over seeds")
        if comparison.yardsticks:
            figure.legend(loc="outside right upper")
        return figure


def placed(curves: pd.DataFrame, metric: str, axis: Axis) -> pd.DataFrame:
    """The points of a metric with their places on an axis.

    Args:
        curves: from load.load_curves, with the metrics of the axis.
    Returns: columns run_id, step, place, value. What a run had consumed at a step is what it logged last
        at or before it, nothing before its first update. A run that did not log it has no point.
    """
    found = []
    for run_id, own in curves.groupby("run_id", sort=False):
        points = own[own["metric"] == metric]
        place = points["step"].to_numpy(dtype=float)
        if axis.metrics:
            place = np.zeros(len(points))
        for name in axis.metrics:
            logged = own[own["metric"] == name].sort_values("step")
            if logged.empty:
                place = np.full(len(points), np.nan)
                break
            at = np.searchsorted(logged["step"].to_numpy(), points["step"].to_numpy(), side="right")
            place += np.concatenate([[0.0], logged["value"].to_numpy(dtype=float)])[at]
        columns = {"step": points["step"], "place": place / axis.divisor, "value": points["value"]}
        found.append(pd.DataFrame({"run_id": run_id, **columns}))
    empty = pd.DataFrame(columns=["run_id", "step", "place", "value"])
    return pd.concat(found).dropna(subset="place") if found else empty


def save(figure: Figure, path: Path) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG beside each other; path has no ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png, svg = path.with_suffix(".png"), path.with_suffix(".svg")
    with mpl.rc_context(_STYLE):
        figure.savefig(png)
        figure.savefig(svg, metadata={"Date": None})
    return png, svg


def _panels(arms: Sequence[Arm], points: pd.DataFrame, metric: str, axis: Axis) -> Figure:
    """A panel an arm, the others' runs in grey behind it."""
    shown = arms[:MAX_PANELS]
    num_rows = math.ceil(len(shown) / _PANELS_A_ROW)
    figure = Figure(figsize=(9.6, 2.0 * num_rows + 0.5), layout="constrained")
    grid = figure.subplots(num_rows, _PANELS_A_ROW, sharex=True, sharey=True, squeeze=False)
    for axes, arm in zip(grid.flat, shown, strict=False):
        for other in arms:
            if other is not arm:
                _draw(axes, other, points, "#cccccc", mean=False)
        _draw(axes, arm, points, COLOURS[0])
        axes.set_title(_wrapped(arm.label, 30), fontsize=8)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    hidden = f"; {len(arms) - len(shown)} arms more in curves.csv" if len(arms) > len(shown) else ""
    figure.supxlabel(f"{axis.label}{hidden}")
    figure.supylabel(_unit(metric))
    return figure


def _draw(
    axes: Axes,
    arm: Arm,
    points: pd.DataFrame,
    colour: str,
    *,
    dash: str = "-",
    label: str = "",
    mean: bool = True,
) -> None:
    lines = {}
    for run in arm.runs:
        line = points[points["run_id"] == run.run_id].set_index("step")[["place", "value"]]
        if len(line):
            lines[run.run_id] = line
            alone = "." if len(line) == 1 else ""
            axes.plot(line["place"], line["value"], color=colour, lw=0.7, alpha=0.55, marker=alone)
            if not run.finished:
                axes.plot(line["place"].iloc[-1], line["value"].iloc[-1], "x", color=colour, markersize=6)
    if mean and lines:
        shared: Any = pd.concat(lines, axis=1, join="inner").sort_index()
        marker = "o" if len(shared) <= 15 else ""
        axes.plot(
            shared.xs("place", axis=1, level=1).mean(axis=1).to_numpy(),
            shared.xs("value", axis=1, level=1).mean(axis=1).to_numpy(),
            color=colour,
            ls=dash,
            lw=2.2,
            label=label,
            marker=marker,
            markersize=3,
        )


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


def _wrapped(label: str, width: int = 34) -> str:
    """Break a long label at its spaces."""
    lines = [""]
    for word in label.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
