"""The best checkpoint beside the final one: on test goals where both were tested, on validation goals always.

A run tests the checkpoint that validates best. Its final one is known on the test goals, too, where it is the
best one, or where `webshop-rl evaluate RUN/checkpoints/update_N` has played it on the run's test episodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from webshop_rl.statistics import Estimate, interval, mean, over_seeds

from .arms import Arm
from .comparison import METRICS
from .load import Run
from .tables import Table

VALIDATED = "val/success"
NOTE = (
    "Mean [95% interval over seeds] of an arm's finished runs. The test plays the checkpoint that validates "
    "best; the final one's test is known where it is the best one, or where webshop-rl evaluate "
    "RUN/checkpoints/update_N played it on the same episodes; - where a run lacks it."
)


@dataclass(frozen=True)
class Ends:
    """What a run's best and final checkpoints reached.

    Attributes:
        best, final: by metric: val/success, test/success and test/score, those that are known.
    """

    best: Mapping[str, float] = field(default_factory=dict)
    final: Mapping[str, float] = field(default_factory=dict)


def ends_of(runs: Iterable[Run], curves: pd.DataFrame, evaluations: Sequence[Run]) -> dict[str, Ends]:
    """Of each finished run, by its id.

    Args:
        curves: from load.load_curves, val/success among them; a run's last update is that of its last point.
        evaluations: from load.load_evaluations.
    """
    last = curves.groupby("run_id")["step"].max()
    validated = dict(tuple(curves[curves["metric"] == VALIDATED].groupby("run_id")))
    found = {}
    for run in runs:
        if not run.finished:
            continue
        test = {metric: run.metrics[metric] for metric in METRICS}
        own = validated.get(run.run_id)
        if own is None or own.empty:
            found[run.run_id] = Ends(test)
            continue
        own = own.sort_values("step")
        values, update = own["value"].to_list(), int(last[run.run_id])
        best = {VALIDATED: max(values), **test}
        final = {VALIDATED: values[-1]} if own["step"].iloc[-1] == update else {}
        # The earliest of equals is the best one; later keys, which decide ties, are not looked at.
        if final and all(value < values[-1] for value in values[:-1]):
            final |= test
        else:
            final |= _evaluated(run, update, evaluations)
        found[run.run_id] = Ends(best, final)
    return found


def ends_table(arms: Sequence[Arm], ends: Mapping[str, Ends]) -> Table | None:
    """A row an arm with a finished run; None without one."""
    metrics = (METRICS[0], VALIDATED)
    rows = []
    for arm in arms:
        if arm.finished:
            known = ends_row(arm, ends, metrics)
            rows.append([arm.label, *(interval(estimate) for estimate in known.values())])
            columns = ["arm", *known]
    return Table("Best and final checkpoint", columns, rows, NOTE) if rows else None


def ends_row(
    arm: Arm, ends: Mapping[str, Ends], metrics: Sequence[str] = (*METRICS, VALIDATED)
) -> dict[str, Estimate | None]:
    """Means over the arm's finished runs by column, "final test/success"; None where a run lacks it."""
    found: dict[str, Estimate | None] = {}
    for metric in metrics:
        for name in ("best", "final"):
            values = [getattr(ends.get(run.run_id, Ends()), name).get(metric) for run in arm.finished]
            known = [value for value in values if value is not None]
            whole = bool(known) and len(known) == len(values)
            found[f"{name} {metric}"] = over_seeds(mean, known) if whole else None
    return found


def _evaluated(run: Run, update: int, evaluations: Sequence[Run]) -> dict[str, float]:
    """What an evaluation alone reached with the weights of this update on the run's test episodes."""
    wanted = {
        "target": run.folder_name,
        "update": str(update),
        "episodes": run.params.get("evaluation.test_episodes", "all").replace("None", "all"),
    }
    for evaluation in evaluations:
        params = evaluation.params
        same_policy = all(params.get(key) == value for key, value in wanted.items()) and "goals" not in params
        # Whatever else decided the episodes: the shop, the view, decoding, seeds.
        same_play = all(run.params[key] == params[key] for key in run.params if key in params)
        same_data = all(
            run.tags.get(tag) == evaluation.tags.get(tag) for tag in ("split_digest", "data_digest")
        )
        if same_policy and same_play and same_data and set(METRICS) <= evaluation.metrics.keys():
            return {metric: evaluation.metrics[metric] for metric in METRICS}
    return {}
