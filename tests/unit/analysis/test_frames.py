from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pandas as pd

from analysis.arms import arms_of
from analysis.comparison import compare
from analysis.frames import frames, write_curves
from analysis.load import load_curves
from tests.support.analysis_runs import make_run


def headings(runs: list) -> dict[str, list[str]]:
    """Of each CSV file, as a reader of it finds them."""
    arms = arms_of(runs)
    comparisons = compare(arms, "test/score", lambda run, evaluation: None)
    reasons: dict[str, Counter[str]] = {}
    made = frames(arms, comparisons, reasons, {})
    return {
        name: list(pd.read_csv(io.StringIO(frame.to_csv(index=False))).columns)
        for name, frame in made.items()
    }


def test_tables_without_a_row_have_headings_that_they_would_have_with_rows() -> None:
    whole = headings([make_run(algo, seed, 0.5) for algo in ("ppo", "apo_pg") for seed in (0, 1)])
    failed = [make_run(algo, status="FAILED") for algo in ("ppo", "apo_pg")]
    for runs in ([], failed):
        for name, columns in headings(runs).items():
            assert columns, name
            # goals has no table here, and so no row either way.
            assert set(columns) <= set(whole[name]), name
    assert "algo.name" in headings(failed)["summary"]
    assert "status" in headings([])["runs"]


def test_curves_are_read_as_they_were(tmp_path: Path) -> None:
    runs = [make_run('a "b", c', seed) for seed in (0, 1)]
    values = [0.1, float("nan"), 1e-17, float("inf"), -2.0, 1 / 3]
    rows = [(run.run_id, metric, step, y) for run in runs for metric in ("val/success", "train/tokens")
            for step, y in enumerate(values)]  # fmt: skip
    curves = pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])
    (arm,) = arms_of(runs)
    named = {run.run_id: (run.folder_name, arm.label, run.seed) for run in runs}
    head = pd.DataFrame([named[run_id] for run_id in curves["run_id"]], columns=["run", "arm", "seed"])
    expected = pd.concat([head, curves.drop(columns="run_id")], axis=1)
    path = tmp_path / "curves.csv"
    for given in (curves, curves.astype({"run_id": "category", "metric": "category"})):
        write_curves([arm], given, path)
        found = pd.read_csv(path, dtype={"run": str, "arm": str, "seed": str}, float_precision="round_trip")
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_dtype=False)
    write_curves([arm], load_curves(None, "sqlite:///none", [], []), path)
    assert list(pd.read_csv(path).columns) == list(expected)
