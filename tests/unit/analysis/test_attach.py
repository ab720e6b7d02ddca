"""What stands at the head of a sweep's description in MLflow."""

from __future__ import annotations

import pytest

from analysis.attach import described
from analysis.page import Report
from analysis.tables import Table

LAUNCHED = "4 runs: 4 finished\n\nrun | state\n--- | ---\nlr=1 | finished"


def _report(headline: str, rows: int = 1) -> Report:
    table = Table("Arms", ["arm", "test/score"], [["lr=1", "0.5"]] * rows)
    return Report("Sweep s", headline, "Because.", [table], [])


def test_the_verdict_and_the_arms_come_before_the_runs_and_a_later_report_takes_their_place() -> None:
    once = described(_report("lr=1 leads."), LAUNCHED)
    assert once.startswith("lr=1 leads.\n\n### Arms\n")
    assert once.endswith(f"| lr=1 | 0.5 |\n\n---\n\n{LAUNCHED}")
    assert described(_report("lr=2 leads."), once) == once.replace("lr=1 leads.", "lr=2 leads.")


@pytest.mark.parametrize(("runs", "headline", "kept"), [(10, 100, True), (4500, 4000, False)])
def test_what_mlflow_would_refuse_is_left_out_and_the_runs_are_kept(
    runs: int, headline: int, kept: bool
) -> None:
    present = "r" * runs
    found = described(_report("h" * headline, rows=1000), present)
    assert len(found) <= 8000
    assert found.endswith(present)
    assert found.startswith("h") is kept
    assert "| arm |" not in found
