"""The map of goals: what each arm scores on each test goal, the easiest goal first."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from .comparison import Comparison
from .drawing import GRID, PAPER, WIDE, wrapped

MAX_ARMS = 16  # columns whose names a phone has room for
MAX_ROWS = 40  # more goals are put together
_MAX_CELLS = 120  # that have room for their numbers
_MAP = "cividis"  # its lightness rises evenly, so it is the same in grey and to the colour-blind
# Not drawing's INK and PAPER, which change with the scheme of the page: a cell's colour does not.
_ON_LIGHT, _ON_DARK = "#000000", "#ffffff"


def goal_numbers(comparison: Comparison) -> pd.DataFrame:
    """Mean over seeds of each goal, a row a goal and a column a leading arm, the easiest goal first.

    How easy a goal is says its mean over these arms; NaN where an arm was not tested on it.
    Returns: empty where no two arms, or no two goals, are there to be told apart.
    """
    known = [r for r in comparison.results if r.goals is not None][:MAX_ARMS]
    columns = {r.arm.label: pd.Series(r.goals.values, r.goals.goals) for r in known if r.goals is not None}
    if len(columns) < 2:
        return pd.DataFrame()
    table = pd.DataFrame(columns)[list(columns)].rename_axis("goal")
    order = np.argsort(-table.mean(axis=1).to_numpy(), kind="stable")
    return table.iloc[order] if len(table) > 1 else pd.DataFrame()


def shown_goals(numbers: pd.DataFrame) -> pd.DataFrame:
    """The rows of the map: goals themselves, or of many the means of MAX_ROWS sets of like difficulty.

    Args:
        numbers: from goal_numbers.
    Returns: the same columns; the index says which goals of the order a row is.
    """
    if len(numbers) <= MAX_ROWS:
        return numbers
    sets = np.array_split(np.arange(len(numbers)), MAX_ROWS)
    rows = [numbers.iloc[own].mean() for own in sets]
    names = [f"{own[0] + 1}-{own[-1] + 1}" if len(own) > 1 else f"{own[0] + 1}" for own in sets]
    return pd.DataFrame(rows, index=pd.Index(names, name="goals"))


def goals_figure(numbers: pd.DataFrame, metric: str, width: float = WIDE) -> Figure | None:
    """A cell a goal (row) and arm (column), the lighter the higher; numbers where there are few cells.

    Args:
        numbers: from goal_numbers.
        metric: what they are.
    """
    if numbers.empty:
        return None
    rows = shown_goals(numbers)
    wide = width >= WIDE
    names = [_cut(label, 30 if wide else 24) for label in rows.columns]
    figure = Figure(figsize=(width, 1.9 + 0.19 * max(len(rows), 3)), layout="constrained")
    axes = figure.subplots()
    colours = colormaps[_MAP].with_extremes(bad=GRID)
    values = np.ma.masked_invalid(rows.to_numpy(dtype=float))
    # Lines of the paper's colour between the cells; without them rows of a colour run together.
    drawn = axes.pcolormesh(values, cmap=colours, vmin=0, vmax=1, edgecolor=PAPER, lw=0.8)
    axes.set_facecolor(GRID)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.tick_params(length=0)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    upright = len(names) > (6 if wide else 3)
    axes.xaxis.tick_top()
    centres = np.arange(len(names)) + 0.5
    axes.set_xticks(centres, names, fontsize=8, rotation=90 if upright else 0)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_cut(str(name), 28 if wide else 14) for name in rows.index])
    axes.tick_params(axis="y", labelsize=7.5)
    axes.set_ylabel("goals, the easiest first" if len(numbers) > len(rows) else "goal, the easiest first")
    if values.size <= _MAX_CELLS and (wide or len(names) <= 8):
        for (row, column), value in np.ndenumerate(values.filled(np.nan)):
            if not np.isnan(value):
                ink = _ON_LIGHT if value > 0.45 else _ON_DARK
                place = (column + 0.5, row + 0.5)
                axes.text(*place, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=7.5)
    bar = figure.colorbar(drawn, ax=axes, location="bottom", aspect=40, pad=0.01, shrink=0.7)
    bar.set_label(f"{metric}, mean over seeds")
    bar.outline.set_visible(False)  # type: ignore[operator]
    return figure


def caption(comparison: Comparison, numbers: pd.DataFrame) -> str:
    """What the map shows, and what it leaves out."""
    said = f"Which goals each arm solves: mean {comparison.metric} over seeds of each test goal (row, the "
    said += "easiest first) and arm (column, the leading one first); lighter is higher."
    if len(numbers) > MAX_ROWS:
        said += f" The {len(numbers)} goals are put together in {MAX_ROWS} rows of like difficulty, each the "
        said += "mean of its goals; goals.csv has each alone."
    num_arms = sum(result.goals is not None for result in comparison.results)
    if num_arms > MAX_ARMS:
        said += f" The {MAX_ARMS} leading arms; {num_arms - MAX_ARMS} more in goals.csv."
    return said


def _cut(label: str, length: int) -> str:
    """A label in at most two lines."""
    lines = wrapped(label, length).split("\n")
    kept = [line if len(line) <= length else f"{line[: length - 1]}…" for line in lines[:2]]
    return "\n".join(kept) + (" …" if len(lines) > 2 else "")
