"""Which arms learnt sooner: what a report goes by where their scores at the end are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import pandas as pd

from webshop_rl.statistics import CONFIDENCE, Estimate, interval, mean, over_seeds, permutation_p

from .comparison import Comparison
from .cost import WALL_TIME
from .reach import COSTS, CURVE, Reach, reaches
from .tables import Table
from .verdict import PERCENT, listed

LEVELS: Final = (0.95, *(tenths / 10 for tenths in range(9, 0, -1)))
_BY: Final = "with V*"  # of reach.COSTS: reference episodes cost what training episodes do


@dataclass(frozen=True)
class Soon:
    """How soon arms reached a validation success.

    Attributes:
        level: the highest of LEVELS that every finished run of some arm reached.
        found: in the order of the results.
    """

    level: float
    found: Sequence[Reach]


def soon_of(comparison: Comparison, curves: pd.DataFrame) -> Soon | None:
    """Of the arms of a comparison; None where no arm has reached the lowest level with all its runs.

    Args:
        curves: from load.load_curves: reach.CURVE and the metrics of the axes of reach.COSTS.
    """
    validated = curves[curves["metric"] == CURVE].groupby("run_id")["value"].max()
    arms = [result.arm for result in comparison.results]
    surest = max((min(validated.get(r.run_id, 0.0) for r in arm.finished) for arm in arms), default=0.0)
    level = next((level for level in LEVELS if level <= surest + 1e-9), None)
    return None if level is None else Soon(level, reaches(arms, curves, level - 1e-9))


def soon_table(soon: Soon | None) -> Table | None:
    """A row an arm."""
    if soon is None:
        return None
    rows = [
        [
            own.arm.label,
            f"{own.num_reached} of {own.num_runs}",
            f"{own.num_kept} of {own.num_runs}",
            *(interval(_mean(own.taken[column]), digits=digits) for column, digits in _COLUMNS),
        ]
        for own in soon.found
    ]
    names = ["training episodes", "those and V*'s", "minutes"]
    return Table(
        f"How soon: the first validation success of {soon.level:g} or more",
        ["arm", "reach it", "end at it", *names],
        rows,
        f"Mean [{PERCENT} interval over seeds] over the runs that reached it, read at validations. The level "
        f"is the highest of {LEVELS[0]:g}, {LEVELS[1]:g}, {LEVELS[2]:g}, ... that every finished run of some "
        "arm reached. V*'s: the reference episodes that it was estimated from. Minutes are "
        f"{WALL_TIME}.",
    )


def soonest(soon: Soon | None) -> str:
    """Which arm was there first, and how sure that is, in a clause; "" where that cannot be said."""
    if soon is None:
        return ""
    whole = [own for own in soon.found if 1 < own.num_reached == own.num_runs == len(own.taken[_BY])]
    ranked = sorted(whole, key=lambda own: mean(own.taken[_BY]))
    if len(ranked) < 2:
        return ""
    first, *others = ranked
    num_pairs = len(list(combinations(ranked, 2)))
    later = [own for own in others if _p(first, own) * num_pairs <= 1 - CONFIDENCE + 1e-12]
    level = [own.arm.label for own in others if own not in later]
    took = interval(_mean(first.taken[_BY]), digits=0)
    said = f"{first.arm.label} was soonest at a validation success of {soon.level:g}, after {took} episodes, "
    said += "those for V* included, "
    if not later:
        return f"{said}not significantly sooner than {_others(level, len(others))}"
    sooner = f"{said}significantly sooner than {_others([own.arm.label for own in later], len(others))}"
    return f"{sooner}, not than {listed(level)}" if level else sooner


_COLUMNS: Final = tuple((column, digits) for (column, *_), digits in zip(COSTS, (0, 0, 1), strict=True))


def _mean(values: Sequence[float]) -> Estimate | None:
    return over_seeds(mean, values) if values else None


def _p(one: Reach, other: Reach) -> float:
    return permutation_p(one.taken[_BY], other.taken[_BY])


def _others(labels: Sequence[str], num: int) -> str:
    return f"the other {num} arms" if len(labels) == num > 2 else listed(labels)
