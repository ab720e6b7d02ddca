"""Figures of the arms as a whole: what they reached, why they fail, what they cost, on how many goals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from webshop_rl.evaluation.reasons import Reason

from .arms import Arm, natural, short
from .comparison import METRICS, Comparison
from .cost import mean_cost
from .drawing import COLOURS, DASHES, HATCHES, INK, WIDE, wrapped

# What a figure has room for; of a larger sweep it shows the leading arms, which its caption says.
MAX_ARMS = 24
MAX_LINES = len(COLOURS)
_MARKERS = "osD^vPX*<>"


def reached_figure(comparison: Comparison, width: float = WIDE) -> Figure | None:
    """Success and score of each arm: runs as dots, their mean with its interval, baselines as lines.

    Returns: None if no arm has a finished run.
    """
    results = comparison.results[:MAX_ARMS]
    if not results:
        return None
    wide = width >= WIDE
    height = 0.9 + 0.34 * len(results) + 0.16 * len(comparison.baselines)
    figure = Figure(figsize=(width, height if wide else 2 * height + 0.3), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True) if wide else figure.subplots(2, 1)
    for metric, axes in zip(METRICS, panels, strict=True):
        for place, result in enumerate(results):
            estimate = result.means[metric]
            scores = result.arm.scores(metric)
            # Below the mean; runs of equal score lie beside each other, in an order that has no meaning.
            heights = place + 0.16 + 0.24 * np.arange(len(scores)) / len(scores)
            axes.plot(scores, heights, "o", color=COLOURS[1], markersize=3.5, alpha=0.9, zorder=2)
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [place] * 2, color=COLOURS[0], lw=3.5, zorder=3)
            axes.plot([estimate.value], [place], "D", color=COLOURS[0], markersize=6, zorder=4)
        for (values, names), dash in zip(_baselines(comparison).items(), DASHES * 10, strict=False):
            label = f"{wrapped(', '.join(names))} {values[0]:.2f}, {values[1]:.2f}"
            value = values[METRICS.index(metric)]
            axes.axvline(value, color=INK, ls=dash, lw=1.1, alpha=0.75, zorder=1, label=label)
        axes.set_yticks(range(len(results)), [wrapped(r.arm.label, 34 if wide else 18) for r in results])
        axes.set_ylim(len(results) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xlabel(metric)
    if comparison.baselines:
        lines, names = panels[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=3 if wide else 1, fontsize=8)
    return figure


def reached_numbers(comparison: Comparison) -> pd.DataFrame:
    """What reached_figure shows."""
    rows = [
        {"arm": r.arm.label, "metric": m, "mean": e.value, "low": e.low, "high": e.high, "seeds": e.num}
        for r in comparison.results
        for m, e in r.means.items()
    ]
    for y in comparison.baselines:
        for metric, value in (("test/success", y.success), ("test/score", y.score)):
            rows.append({"arm": y.name, "metric": metric, "mean": value})
    return pd.DataFrame(rows)


def reasons_figure(
    reasons: Mapping[str, Counter[str]], tested: Mapping[str, int], width: float = WIDE
) -> Figure | None:
    """A bar an arm: the share of its test episodes that failed, by reason.

    Args:
        tested: test episodes of each arm.
    """
    shown = [str(r) for r in Reason if any(r in counts for counts in reasons.values())]
    arms = [arm for arm in reasons if tested[arm]][:MAX_ARMS]
    if not shown or not arms:
        return None
    legend_rows = len(shown) if width < WIDE else (len(shown) + 2) // 3
    figure = Figure(figsize=(width, 1.0 + 0.4 * len(arms) + 0.2 * legend_rows), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(arms))
    for number, name in enumerate(shown):
        shares = np.array([reasons[arm][name] / tested[arm] for arm in arms])
        colour, hatch = COLOURS[number % len(COLOURS)], HATCHES[number % len(HATCHES)]
        axes.barh(
            range(len(arms)), shares, left=left, color=colour, hatch=hatch, edgecolor=INK, lw=0.5, label=name
        )
        left += shares
    axes.set_yticks(range(len(arms)), [wrapped(arm, 34 if width >= WIDE else 18) for arm in arms])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("share of test episodes that failed")
    figure.legend(loc="outside lower center", ncols=3 if width >= WIDE else 1, fontsize=8)
    return figure


def swept_keys(arms: Sequence[Arm]) -> list[str]:
    """Keys that differ between arms; words alone, as of `algo`, only where something else differs, too.

    Without that the first picture shows the same.
    """
    keys = dict.fromkeys(key for arm in arms for key in arm.settings)
    swept = [key for key in keys if len(_values(arms, key)) > 1]
    return [key for key in swept if len(swept) > 1 or _numbers(arms, key)]


def sensitivity_figure(comparison: Comparison, key: str, width: float = WIDE) -> Figure | None:
    """Means of the arms against one swept key, a line for each setting of the others.

    Numbers stand on an axis, a log one where they span a factor of two; words stand beside each other.
    """
    lines = _lines(comparison, key)
    if not any(len(points) > 1 for points in lines.values()):
        return None
    figure = Figure(figsize=(width, 3.2 if width >= WIDE else 3.6), layout="constrained")
    axes = figure.subplots()
    arms = [result.arm for result in comparison.results]
    numbers = _numbers(arms, key)
    shown = list(lines.items())[:MAX_LINES]
    for number, (label, points) in enumerate(shown):
        names, means, lows, highs = zip(*points, strict=True)
        # Of words the settings stand a little apart, so that their intervals do.
        apart = 0.0 if numbers else 0.5 * ((number + 0.5) / len(shown) - 0.5)
        xs = [float(x) if numbers else _values(arms, key).index(x) + apart for x in names]
        style = {"color": COLOURS[number], "marker": _MARKERS[number]}
        style["ls"] = DASHES[number] if numbers else ""
        errors = (np.subtract(means, lows), np.subtract(highs, means))
        axes.errorbar(xs, means, errors, capsize=3, label=wrapped(label), **style)
    values = sorted({x for points in lines.values() for x, *_ in points}, key=natural)
    if not numbers:
        axes.set_xticks(range(len(_values(arms, key))), [wrapped(v, 18) for v in _values(arms, key)])
    elif float(values[0]) > 0 and float(values[-1]) >= 2 * float(values[0]):
        axes.set_xscale("log")
        axes.set_xticks([float(v) for v in values], [f"{float(v):g}" for v in values])
        axes.minorticks_off()
    axes.set_xlabel(short(key))
    axes.set_ylabel(comparison.metric)
    axes.set_ylim(-0.03, 1.03)
    figure.legend(loc="outside right upper" if width >= WIDE else "outside lower left")
    return figure


def num_lines(comparison: Comparison, key: str) -> int:
    """How many settings of the other keys there are."""
    return len(_lines(comparison, key))


def sensitivity_numbers(comparison: Comparison, key: str) -> pd.DataFrame:
    """What sensitivity_figure shows."""
    rows = [(label, *point) for label, points in _lines(comparison, key).items() for point in points]
    found = pd.DataFrame(rows, columns=["others", short(key), "mean", "low", "high"])
    arms = [result.arm for result in comparison.results]
    return found.astype({short(key): float}) if _numbers(arms, key) else found


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Which points no other reaches at less cost: (cost, value), more value is better; in order of cost."""
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[index][1] > points[front[-1]][1]:
            front.append(index)
    return front


def cost_numbers(comparison: Comparison, metric: str) -> pd.DataFrame:
    """Cost and success of each arm that logged this cost, and whether it is on the Pareto front."""
    rows = [
        (r.arm.label, cost, r.means["test/success"].value)
        for r in comparison.results
        if (cost := mean_cost(r.arm, metric)) is not None
    ]
    front = set(pareto([(cost, value) for _, cost, value in rows]))
    marked = [(*row, index in front) for index, row in enumerate(rows)]
    return pd.DataFrame(marked, columns=["arm", metric, "test/success", "pareto"])


def cost_figure(comparison: Comparison, metric: str, label: str, width: float = WIDE) -> Figure | None:
    """Success against one cost, the Pareto front as a line; None if the cost is 0 or not known."""
    numbers = cost_numbers(comparison, metric)
    if len(numbers) < 2 or numbers[metric].max() <= 0:
        return None
    figure = Figure(
        figsize=(width, 3.2 if width >= WIDE else 3.0 + 0.22 * len(numbers)), layout="constrained"
    )
    axes = figure.subplots()
    for number, row in numbers.head(MAX_ARMS).iterrows():
        index = int(str(number))
        marker, colour = _MARKERS[index % len(_MARKERS)], COLOURS[index % len(COLOURS)]
        name = wrapped(str(row["arm"]))
        axes.plot([row[metric]], [row["test/success"]], marker, color=colour, markersize=8, label=name)
    front = numbers[numbers["pareto"]].sort_values(metric)
    axes.step(front[metric], front["test/success"], where="post", color=INK, lw=1, zorder=1)
    axes.set_xlabel(f"{label}, mean of a run")
    axes.set_ylabel("test/success")
    axes.set_ylim(-0.03, 1.03)
    figure.legend(loc="outside right upper" if width >= WIDE else "outside lower left", fontsize=8)
    return figure


def profile_numbers(comparison: Comparison) -> pd.DataFrame:
    """Share of goals whose mean over seeds is at least so high, by arm."""
    levels = np.linspace(0, 1, 41)
    parts = [
        pd.DataFrame(
            {
                "arm": r.arm.label,
                "level": levels,
                "share": [(r.goals.values >= v - 1e-9).mean() for v in levels],
            }
        )
        for r in comparison.results[:MAX_LINES]
        if r.goals is not None
    ]
    return pd.concat(parts) if parts else pd.DataFrame(columns=["arm", "level", "share"])


def profile_figure(comparison: Comparison, width: float = WIDE) -> Figure | None:
    """Performance profiles over goals (Agarwal et al., arXiv:2108.13264, section 4.2)."""
    numbers = profile_numbers(comparison)
    if numbers.empty:
        return None
    figure = Figure(figsize=(width, 3.2 if width >= WIDE else 4.2), layout="constrained")
    axes = figure.subplots()
    for number, (arm, own) in enumerate(numbers.groupby("arm", sort=False)):
        axes.step(own["level"], own["share"], where="pre", color=COLOURS[number], ls=DASHES[number], lw=1.8,
                  label=wrapped(str(arm)))  # fmt: skip
    axes.set_xlabel(f"{comparison.metric} of a goal, mean over seeds")
    axes.set_ylabel("share of goals at least so high")
    axes.set_ylim(-0.03, 1.03)
    figure.legend(loc="outside right upper" if width >= WIDE else "outside lower left", fontsize=8)
    return figure


def _lines(comparison: Comparison, key: str) -> dict[str, list[tuple[str, float, float, float]]]:
    """(value of the key, mean, low, high) by the setting of the other keys; no arms that lack the key."""
    found: dict[str, list[tuple[str, float, float, float]]] = {}
    for result in comparison.results:
        settings = result.arm.settings
        if settings.get(key):
            rest = " ".join(f"{short(k)}={v or 'unset'}" for k, v in settings.items() if k != key) or "all"
            e = result.means[comparison.metric]
            low, high = (e.value if end is None else end for end in (e.low, e.high))
            found.setdefault(rest, []).append((settings[key], e.value, low, high))
    if len(found) <= MAX_LINES:
        found = dict(sorted(found.items()))
    # Else the leading ones come first.
    return {rest: sorted(points, key=lambda point: natural(point[0])) for rest, points in found.items()}


def _values(arms: Sequence[Arm], key: str) -> list[str]:
    """Of a key, those that arms have, in order."""
    return sorted({arm.settings[key] for arm in arms if arm.settings.get(key)}, key=natural)


def _numbers(arms: Sequence[Arm], key: str) -> bool:
    return all(natural(value)[0] == 0 for value in _values(arms, key))


def _baselines(comparison: Comparison) -> dict[tuple[float, float], list[str]]:
    """Names of what was not trained, by (success, score): policies that reach the same share a line."""
    found: dict[tuple[float, float], list[str]] = {}
    for baseline in comparison.baselines:
        name = baseline.name.removeprefix("baseline/")
        name += f" ({', '.join(baseline.arms)})" if baseline.arms else ""
        found.setdefault((baseline.success, baseline.score), []).append(name)
    return found
