"""Which arm learnt sooner: what a report says where scores at the end are alike."""

from __future__ import annotations

import pandas as pd

from analysis.arms import arms_of
from analysis.comparison import Comparison, compare
from analysis.headline import headline
from analysis.soon import soon_of, soon_table, soonest
from tests.support.analysis_runs import make_run, make_sweep


def compared(first_at: dict[str, list[int | None]], *, top: float = 1.0) -> tuple[Comparison, pd.DataFrame]:
    """Arms of equal scores; a run is at `top` from the named update on, of 10; an update is of 8 episodes."""
    runs = [make_run(algo, seed, 1.0) for algo, own in first_at.items() for seed in range(len(own))]
    rows = []
    for run, at in zip(runs, [at for own in first_at.values() for at in own], strict=True):
        for step in range(11):
            reached = at is not None and step >= at
            rows.append((run.run_id, "val/success", step, top if reached else 0.05))
            rows.append((run.run_id, "train/episodes", step, 8.0 * step))
            rows.append((run.run_id, "vstar/episodes", step, 100.0 * (run.params["algo.name"] != "ppo")))
            rows.append((run.run_id, "time/train_s", step, 60.0 * step))
    (comparison,) = compare(arms_of(runs), "test/score", lambda run, evaluation: None)
    return comparison, pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])


def said(first_at: dict[str, list[int | None]]) -> str:
    comparison, curves = compared(first_at)
    runs = [run for result in comparison.results for run in result.arm.runs]
    return headline(make_sweep(runs), [comparison], [soon_of(comparison, curves)])


def test_arms_that_end_alike_are_told_apart_by_how_soon_they_were_there() -> None:
    """ppo: update 7 of 8 episodes each, 56; apo: update 2, and the 100 reference episodes, 116."""
    found = said({"ppo": [7] * 5, "apo": [2] * 5})
    assert found.startswith(
        "Both arms reached the same test/score, 1.000, the highest there is; algo=ppo was "
    )
    assert (
        "soonest at a validation success of 0.95, after 56 [56, 56] episodes, those for V* included" in found
    )
    assert "significantly sooner than algo=apo" in found  # all of five runs: 2 / C(10, 5) = .008
    assert "not significantly sooner than algo=apo" in said({"ppo": [7, 7, 7], "apo": [2, 2, 2]})  # 1 in 10


def test_an_arm_with_a_run_that_never_got_there_is_not_called_soonest() -> None:
    comparison, curves = compared({"a": [1, 1, None], "b": [5, 5, 5], "c": [6, 6, 6]})
    assert soonest(soon_of(comparison, curves)).startswith("algo=b was soonest")
    table = soon_table(soon_of(comparison, curves))
    assert table is not None
    cells = {row[0]: list(row[1:3]) for row in table.rows}
    assert cells == {"algo=a": ["2 of 3", "2 of 3"], "algo=b": ["3 of 3"] * 2, "algo=c": ["3 of 3"] * 2}


def test_the_level_is_one_that_an_arm_reaches_with_all_its_runs() -> None:
    comparison, curves = compared({"a": [1, 1], "b": [None, None]}, top=0.47)
    soon = soon_of(comparison, curves)
    assert soon is not None
    assert soon.level == 0.4
    assert soonest(soon) == ""  # one arm alone got there
    comparison, curves = compared({"a": [1, None], "b": [None, None]})
    assert soon_of(comparison, curves) is None
    assert soon_table(None) is None
