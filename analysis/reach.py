"""How soon the arms of a sweep reach a validation success, beside one of them, and whether they keep it.

    python -m analysis.reach SWEEP [--level 0.95] [--than algo=ppo]

What a run took is read at its first validation at or above the level: training episodes, those and the
reference episodes of V*, minutes of training (validations included). Means are over an arm's runs that
reached it; a ratio is of two such means, its interval over seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from webshop_rl.cli import command
from webshop_rl.errors import UserError
from webshop_rl.statistics import Numbers, interval, mean, over_seeds

from .arms import Arm, arms_of
from .axes import AXES

CURVE: Final = "val/success"
# Column of the table, axis that it is read on, and from the axis' unit to the column's.
COSTS: Final = (
    ("episodes", "episodes", 1.0),
    ("with V*", "episodes_with_vstar", 1.0),
    ("minutes", "hours", 60.0),
)
AXES_READ: Final = tuple(axis for _, axis, _ in COSTS)


@dataclass(frozen=True)
class Reach:
    """How one arm stands to the level.

    Attributes:
        num_runs: finished.
        num_reached: of these, those with a validation at or above the level.
        num_kept: of these, those whose last validation is.
        taken: what each run that reached it had taken by then, by column of COSTS.
    """

    arm: Arm
    num_runs: int
    num_reached: int
    num_kept: int
    taken: Mapping[str, Sequence[float]]


def reach(arm: Arm, curves: pd.DataFrame, level: float) -> Reach:
    """What an arm's finished runs took to a level; the arguments are those of `reaches`."""
    return reaches([arm], curves, level)[0]


def reaches(arms: Sequence[Arm], curves: pd.DataFrame, level: float) -> list[Reach]:
    """What the finished runs of each arm took to a level.

    Args:
        curves: from load.load_curves: CURVE and the metrics of the axes of COSTS.
        level: of validation success.
    """
    from .figures import placed

    named = {CURVE, *(name for axis in AXES_READ for name in AXES[axis].metrics)}
    own = curves[curves["metric"].isin(named)]
    taken = {}
    for column, axis, factor in COSTS:
        points = placed(own, CURVE, AXES[axis]).sort_values("step")
        first = points[points["value"] >= level].groupby("run_id", sort=False)["place"].first()
        taken[column] = {run_id: factor * place for run_id, place in first.items()}
    validated = own[own["metric"] == CURVE].sort_values("step").groupby("run_id")["value"]
    reached = validated.max() >= level
    kept = validated.last() >= level
    return [
        Reach(
            arm,
            num_runs=len(arm.finished),
            num_reached=sum(bool(reached.get(run.run_id, False)) for run in arm.finished),
            num_kept=sum(bool(kept.get(run.run_id, False)) for run in arm.finished),
            taken={
                column: [places[run.run_id] for run in arm.finished if run.run_id in places]
                for column, places in taken.items()
            },
        )
        for arm in arms
    ]


def ratio(ours: Numbers, theirs: Numbers, axis: int = -1) -> Any:
    """Mean of ours over mean of theirs."""
    return mean(ours, axis=axis) / mean(theirs, axis=axis)


def table(found: Sequence[Reach], than: Reach, level: float) -> str:
    """A row an arm, as Markdown.

    Args:
        than: the arm that the others are compared with.
    """
    columns = ["arm", f"reach {level:g}", f"end at {level:g}"]
    columns += [cell for column, *_ in COSTS for cell in (column, f"over {than.arm.label}")]
    rows = [columns, ["---"] * len(columns)]
    for own in found:
        row = [own.arm.label, f"{own.num_reached} of {own.num_runs}", f"{own.num_kept} of {own.num_runs}"]
        for column, *_ in COSTS:
            ours, theirs = own.taken[column], than.taken[column]
            row.append(f"{mean(ours):.3g}" if ours else "-")
            comparable = own is not than and ours and theirs and min(theirs) > 0
            row.append(interval(over_seeds(ratio, ours, theirs), digits=2) if comparable else "-")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def read(root: Path, sweep: str | None, level: float) -> list[Reach]:
    """Every arm of a sweep. Raises: UserError if there is no such sweep."""
    from .load import load_curves, load_sweep
    from .report import replay
    from .tracker import open_tracker, tracker_uri

    replay(root)
    uri = tracker_uri(root, None)
    client = open_tracker(uri)
    found = load_sweep(client, uri, sweep, root=root)
    names = dict.fromkeys(name for axis in AXES_READ for name in AXES[axis].metrics)
    curves = load_curves(client, uri, found.runs, (CURVE, *names))
    return reaches(arms_of(found.runs), curves, level)


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 2 on bad input."""
    parser = argparse.ArgumentParser(prog="python -m analysis.reach", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help="default: the newest")
    parser.add_argument("--root", type=Path, default=Path("runs"))
    parser.add_argument("--level", type=float, default=0.95, help="of validation success (default: 0.95)")
    parser.add_argument("--than", default="algo=ppo", help="arm to compare with (default: algo=ppo)")
    options = parser.parse_args(arguments)
    found = read(options.root, options.sweep, options.level)
    than = next((own for own in found if own.arm.label == options.than), None)
    if than is None:
        labels = ", ".join(own.arm.label for own in found)
        raise UserError(f"there is no arm {options.than!r}", where="--than", remedy=f"there are: {labels}")
    print(table(found, than, options.level))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
