"""Two runs or two arms beside each other: configuration, metrics, goals that flipped, trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webshop_rl.config.walk import seed_keys
from webshop_rl.statistics import Estimate, difference, interval, mean, over_seeds

from .arms import Arm, short
from .comparison import Comparison
from .cost import COSTS
from .survey import Played, success_by_goal
from .tables import Table

MAX_FLIPPED = 100
_SOLVED = 0.5  # share of its episodes from which a goal counts as solved


@dataclass(frozen=True)
class Episodes:
    """An episode of each side on one goal."""

    goal: str
    ours: Played
    theirs: Played


def configuration_table(a: Arm, b: Arm) -> Table:
    """Keys in which the two differ; seeds only where each side is one run."""
    single = len(a.runs) == len(b.runs) == 1
    ours, theirs = a.runs[0].params, b.runs[0].params
    keys = [
        key
        for key in dict.fromkeys((*ours, *theirs))
        if ours.get(key) != theirs.get(key)
        and not key.endswith("_target_")
        and (single or key not in seed_keys())
    ]
    rows = [[short(key), ours.get(key, "unset"), theirs.get(key, "unset")] for key in sorted(keys)]
    for title, tag in (("code", "code_digest"), ("data", "data_digest"), ("split", "split_digest")):
        digests = [", ".join(sorted({run.tags.get(tag, "?") for run in side.runs})) for side in (a, b)]
        if digests[0] != digests[1]:
            rows.append([title, *digests])
    note = "" if rows else "Nothing differs."
    return Table("Configuration", ["key", a.label, b.label], rows, note)


def metrics_table(a: Arm, b: Arm, comparisons: Sequence[Comparison]) -> Table:
    """Metrics of both, and their difference over seeds and over products.

    Args:
        comparisons: of the two, one a metric; none where they were tested on other episodes.
    """
    rows = []
    for comparison in comparisons:
        metric = comparison.metric
        pair = next(iter(comparison.pairs), None)
        sign = -1.0 if pair is not None and pair.high.label == b.label else 1.0
        cells = ["-", "-", "-"]
        if pair is not None:
            p = "-" if pair.p is None else f"{pair.p:.3f}"
            cells = [interval(turned(e, sign), signed=True) for e in (pair.over_seeds, pair.over_goals)] + [p]
        rows.append([metric, *(_mean(side, metric) for side in (a, b)), *cells])
    for cost in COSTS:
        sides = [_values(side, cost.metric, cost.divisor) for side in (a, b)]
        if all(sides):
            gap = over_seeds(difference, *sides)
            means = [interval(over_seeds(mean, own), digits=2) for own in sides]
            rows.append([cost.column, *means, interval(gap, signed=True, digits=2), "", ""])
    columns = ["metric", a.label, b.label, "A - B over seeds", "A - B over products", "p"]
    note = "Mean [95% interval]. p: chance of such a difference if the runs were dealt to the two at random."
    return Table("Metrics", columns, rows, note)


def flipped_tables(a: Arm, b: Arm, played: Sequence[Played]) -> list[Table]:
    """Goals that one side mostly solves and the other mostly does not, in both directions."""
    instructions = {episode.goal: episode.instruction for episode in played}
    tables = []
    for ours, theirs in ((a.label, b.label), (b.label, a.label)):
        rows = []
        for goal in flipped(played, ours, theirs):
            shares = success_by_goal([e for e in played if e.goal == goal])[goal]
            lost = sorted({e.reason for e in played if e.goal == goal and e.arm == theirs and e.reason})
            rows.append(
                [goal, instructions[goal], f"{shares[ours]:.2f}", f"{shares[theirs]:.2f}", ", ".join(lost)]
            )
        title = f"{ours} solves, {theirs} does not: {len(rows)} goal{'' if len(rows) == 1 else 's'}"
        columns = ["goal", "instruction", ours, theirs, f"{theirs} fails by"]
        tables.append(Table(title, columns, rows[:MAX_FLIPPED]))
    return tables


def flipped(played: Sequence[Played], ours: str, theirs: str) -> list[str]:
    """Goals of whose episodes `ours` solves at least half and `theirs` fewer, the widest apart first."""
    shares = success_by_goal(played)
    apart = {
        goal: own[ours] - own[theirs]
        for goal, own in shares.items()
        if ours in own and theirs in own and own[theirs] < _SOLVED <= own[ours]
    }
    return sorted(apart, key=lambda goal: -apart[goal])


def side_by_side(a: Arm, b: Arm, played: Sequence[Played], num: int = 1) -> list[Episodes]:
    """An episode of each side on goals that flipped, so many a direction; else on the first goal of both."""
    found = []
    for ours, theirs in ((a.label, b.label), (b.label, a.label)):
        for goal in flipped(played, ours, theirs)[:num]:
            won = next(e for e in played if e.goal == goal and e.arm == ours and e.success)
            lost = next(e for e in played if e.goal == goal and e.arm == theirs and not e.success)
            found.append(Episodes(goal, *((won, lost) if ours == a.label else (lost, won))))
    if found or a.label == b.label:
        return found
    for episode in played:
        other = next((e for e in played if e.goal == episode.goal and e.arm == b.label), None)
        if episode.arm == a.label and other is not None:
            return [Episodes(episode.goal, episode, other)]
    return []


def turned(estimate: Estimate | None, sign: float) -> Estimate | None:
    """The estimate of A - B from that of B - A."""
    if estimate is None or sign > 0:
        return estimate
    low, high = (None if end is None else -end for end in (estimate.high, estimate.low))
    return Estimate(-estimate.value, low, high, estimate.num)


def _values(side: Arm, metric: str, divisor: float = 1.0) -> list[float]:
    return [run.metrics[metric] / divisor for run in side.finished if metric in run.metrics]


def _mean(side: Arm, metric: str) -> str:
    values = _values(side, metric)
    return interval(over_seeds(mean, values)) if values else "-"
