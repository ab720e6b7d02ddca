"""What an arm cost: means over its finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .arms import Arm


@dataclass(frozen=True)
class Cost:
    """One column: a heading, the metric that it is the mean of, and from its unit to the column's."""

    column: str
    metric: str
    divisor: float = 1.0
    digits: int = 0


COSTS = (
    Cost("hours", "time/train_s", 3600.0, 2),
    Cost("GPU-hours", "time/gpu_hours", 1.0, 2),
    Cost("env steps", "train/env_steps"),
    Cost("tokens", "train/tokens"),
    Cost("GPU Wh", "system/gpu_energy_wh", 1.0, 1),
    Cost("machine's CPU Wh", "system/cpu_energy_wh", 1.0, 1),
    Cost("peak MB", "system/rss_peak_mb"),
    Cost("GPU MB", "system/gpu_mem_mb"),
)
WALL_TIME = "of training, on a machine as busy as it was"
COST_COLUMNS = ("hours", "env steps")  # of the first table


def cost_cells(arms: Sequence[Arm]) -> dict[str, list[str]]:
    """Cells of COST_COLUMNS by arm."""
    chosen = [cost for cost in COSTS if cost.column in COST_COLUMNS]
    return {arm.label: [_cell(arm, cost) for cost in chosen] for arm in arms}


def cost_row(arm: Arm) -> dict[str, float | None]:
    """The means by column, for summary.csv."""
    return {cost.column: mean_cost(arm, cost.metric, cost.divisor) for cost in COSTS}


def cost_rows(arms: Sequence[Arm]) -> list[list[str]]:
    """A row an arm with a finished run: its label, then a cell for each of COSTS."""
    return [[arm.label, *(_cell(arm, cost) for cost in COSTS)] for arm in arms if arm.finished]


def mean_cost(arm: Arm, metric: str, divisor: float = 1.0) -> float | None:
    """Mean over the finished runs; None if one of them did not log it."""
    values = [run.metrics[metric] / divisor for run in arm.finished if metric in run.metrics]
    return sum(values) / len(values) if values and len(values) == len(arm.finished) else None


def _cell(arm: Arm, cost: Cost) -> str:
    value = mean_cost(arm, cost.metric, cost.divisor)
    return "-" if value is None else f"{value:,.{cost.digits}f}"
