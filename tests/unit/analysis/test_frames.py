from __future__ import annotations

import io
from collections import Counter

import pandas as pd

from analysis.arms import arms_of
from analysis.comparison import compare
from analysis.frames import frames
from analysis.load import load_curves
from tests.support.analysis_runs import make_run


def headings(runs: list) -> dict[str, list[str]]:
    """Of each CSV file, as a reader of it finds them."""
    arms = arms_of(runs)
    comparisons = compare(arms, "test/score", lambda run, evaluation: None)
    curves = load_curves(None, "sqlite:///none", [], [])
    reasons: dict[str, Counter[str]] = {}
    made = frames(arms, comparisons, curves, reasons, {})
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
