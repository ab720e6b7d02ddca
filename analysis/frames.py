"""The numbers of a report, unrounded: one data frame, and one CSV file, a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from webshop_rl.config.walk import seed_keys
from webshop_rl.evaluation.reasons import Reason
from webshop_rl.statistics import Estimate
from webshop_rl.tracking.names import CONSUMED

from .arms import Arm
from .checkpoints import Ends, ends_row
from .comparison import METRICS, Comparison
from .cost import cost_row
from .verdict import finding


def frames(
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    reasons: Mapping[str, Counter[str]],
    ends: Mapping[str, Ends],
) -> dict[str, pd.DataFrame]:
    """Data frames by name of their file.

    Args:
        reasons: how many test episodes of each arm failed for each reason.
        ends: what the best and the final checkpoints reached, by run id.
    Returns: summary (one row an arm), runs (one row a run), pairs, goals (one row an arm and goal).
    """
    return {
        "summary": _arms(arms, comparisons, reasons, ends),
        "runs": _runs(arms),
        "pairs": _pairs(comparisons),
        "goals": _goals(comparisons),
    }


def write_curves(arms: Sequence[Arm], curves: pd.DataFrame, path: Path) -> None:
    """Write the whole histories, one row a point; by pyarrow, in a tenth of pandas' time.

    Args:
        curves: from load.load_curves, of runs of these arms.
    """
    run_ids = curves["run_id"].astype("category").cat
    known = {run.run_id: (run.folder_name, arm.label, run.seed) for arm in arms for run in arm.runs}
    named = [known[run_id] for run_id in run_ids.categories]
    columns = {
        name: _repeated(run_ids.codes, [words[place] for words in named])
        for place, name in enumerate(("run", "arm", "seed"))
    }
    metrics = curves["metric"].astype("category").cat
    columns["metric"] = _repeated(metrics.codes, list(metrics.categories))
    columns["step"] = pa.array(curves["step"].to_numpy(dtype=np.int64))
    columns["value"] = pa.array(curves["value"].to_numpy(dtype=np.float64), from_pandas=True)
    pyarrow.csv.write_csv(pa.table(columns), path)


def _repeated(codes: pd.Series, words: Sequence[str]) -> pa.DictionaryArray:
    """Words by their number; each is kept once."""
    return pa.DictionaryArray.from_arrays(
        pa.array(codes.to_numpy(dtype=np.int32)), pa.array(words, pa.string())
    )


def _runs(arms: Sequence[Arm]) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for arm in arms:
        for run in arm.runs:
            identity = {
                "run": run.folder_name,
                "mlflow_run": run.run_id,
                "arm": arm.label,
                "status": run.status,
                "compared": run.finished,
                "adopted": run.adopted,
                "error": run.tags.get("error", ""),
                "split_digest": run.tags.get("split_digest", ""),
                "code_digest": run.tags.get("code_digest", ""),
            }
            seeds = {key: run.params.get(key) for key in seed_keys()}
            finals = {name: run.metrics[name] for name in sorted(run.metrics) if _final(name)}
            rows.append({**identity, **arm.settings, **seeds, **finals})
    return _frame(rows, ("run", "mlflow_run", "arm", "status", "compared", "adopted", "error"))


def _arms(
    arms: Sequence[Arm],
    comparisons: Sequence[Comparison],
    reasons: Mapping[str, Counter[str]],
    ends: Mapping[str, Ends],
) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    for number, comparison in enumerate(comparisons, 1):
        for result in comparison.results:
            row = {"test_set": number, "arm": result.arm.label, "seeds": len(result.arm.finished)}
            row |= {"runs": len(result.arm.runs), **result.arm.settings}
            for metric in METRICS:
                row |= _cells(f"{metric} mean", result.means[metric])
                row |= _cells(f"{metric} IQM", result.iqms[metric])
            for name, estimate in result.against.items():
                row |= _cells(f"{comparison.metric} minus {name}", estimate)
            for name, estimate in ends_row(result.arm, ends).items():
                row |= _cells(name, estimate)
            row |= cost_row(result.arm)
            if result.arm.label in reasons:
                row |= {f"failed: {reason}": reasons[result.arm.label][reason] for reason in Reason}
            rows.append(row)
        for baseline in comparison.baselines:
            row = {"test_set": number, "arm": baseline.name}
            row |= {"test/success mean": baseline.success, "test/score mean": baseline.score}
            rows.append(row)
    settings = dict.fromkeys(key for arm in arms for key in arm.settings)
    measured = [_cells(f"{metric} {what}", None) for metric in METRICS for what in ("mean", "IQM")]
    columns = ["test_set", "arm", "seeds", "runs", *settings, *(name for cells in measured for name in cells)]
    return _frame(rows, columns)


def _pairs(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    columns = ["test_set", "metric", "a", "b", "p_corrected", "num_pairs", "finding"]
    rows: list[dict[str, object]] = []
    for number, comparison in enumerate(comparisons, 1):
        for pair in comparison.pairs:
            row = {"test_set": number, "metric": comparison.metric, "a": pair.high.label, "b": pair.low.label}
            row |= {"p_corrected": pair.p, "num_pairs": comparison.num_pairs}
            row |= _cells("a - b over seeds", pair.over_seeds)
            row |= _cells("P(a > b)", pair.improvement)
            row |= _cells("a - b over products", pair.over_goals)
            rows.append({**row, "finding": finding(pair, comparison)})
    return _frame(rows, columns)


def _goals(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "test_set": number,
                "arm": result.arm.label,
                "goal": result.goals.goals,
                "asin": result.goals.products,
                "episodes": result.goals.weights,
                f"{comparison.metric} mean over seeds": result.goals.values,
            }
        )
        for number, comparison in enumerate(comparisons, 1)
        for result in comparison.results
        if result.goals is not None
    ]
    return pd.concat(parts) if parts else _frame([], ("test_set", "arm", "goal", "asin", "episodes"))


def _frame(rows: Sequence[Mapping[str, object]], columns: Sequence[str]) -> pd.DataFrame:
    """Without a row the columns that every such table has: a CSV of an empty line cannot be read."""
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))


def _final(name: str) -> bool:
    return name.startswith(("test/", "untrained/", "baseline/")) or name in ("time/train_s", *CONSUMED)


def _cells(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {name: None, f"{name} low": None, f"{name} high": None}
    return {name: estimate.value, f"{name} low": estimate.low, f"{name} high": estimate.high}
