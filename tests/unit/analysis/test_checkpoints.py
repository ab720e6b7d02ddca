"""The best checkpoint beside the final one, by hand."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from analysis.arms import arms_of
from analysis.checkpoints import ends_of, ends_row, ends_table
from analysis.load import Run
from tests.support.analysis_runs import make_run

PLAYED = {"evaluation__test_episodes": "40", "evaluation__seed": "1000"}


def run_of(seed: int, **changes: str) -> Run:
    return make_run("ppo", seed, 0.6, tags={"folder": f"/x/runs/r{seed}"}, **{**PLAYED, **changes})


def curves_of(**curves: list[float]) -> pd.DataFrame:
    """Validation each 4 updates; of a curve called late_ training ends two updates after the last."""
    rows = []
    for name, values in curves.items():
        run_id = f"id-ppo-5e-06-{name[-1]}"
        rows += [(run_id, "val/success", 4 * n, value) for n, value in enumerate(values)]
        end = 4 * (len(values) - 1) + 2 * name.startswith("late_")
        rows.append((run_id, "train/return_mean", end, 0.0))
    return pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])


def evaluation(run: Run, update: int, score: float, **changes: str) -> Run:
    """As webshop-rl evaluate records one: what decides the episodes, and which weights played them."""
    params = {"env.name": "webshop", "env.split": "product", "evaluation.seed": "1000"}
    params |= {"target": run.folder_name, "update": str(update), "episodes": "40", "split": "test"}
    params |= {key.replace("__", "."): value for key, value in changes.items()}
    tags = {"kind": "evaluation", "split": "test", "split_digest": "d1"}
    return replace(run, params=params, tags=tags, metrics={"test/score": score, "test/success": score})


def test_a_final_checkpoint_that_is_the_best_one_has_been_tested() -> None:
    run = run_of(1)
    ends = ends_of([run], curves_of(r1=[0.1, 0.3, 0.5]), [])[run.run_id]
    assert ends.best == {"val/success": 0.5, "test/score": 0.6, "test/success": 0.6}
    assert ends.final == ends.best


def test_of_equal_validations_the_earlier_may_be_the_best_so_the_final_test_is_not_known() -> None:
    run = run_of(1)
    ends = ends_of([run], curves_of(r1=[0.1, 0.5, 0.5]), [])[run.run_id]
    assert ends.final == {"val/success": 0.5}


def test_a_run_that_ends_between_validations_has_no_final_one() -> None:
    run = run_of(1)
    assert ends_of([run], curves_of(late_1=[0.1, 0.3]), [])[run.run_id].final == {}


def test_an_evaluation_alone_counts_on_the_same_episodes_only() -> None:
    run = run_of(1)
    curves = curves_of(r1=[0.1, 0.5, 0.4])
    other = [
        evaluation(run, 4, 0.9),  # of another update
        evaluation(run, 8, 0.9, episodes="all"),
        evaluation(run, 8, 0.9, goals="0:40"),
        evaluation(run, 8, 0.9, evaluation__seed="7"),
        evaluation(run, 8, 0.9, target="r2"),
        replace(evaluation(run, 8, 0.9), tags={"split_digest": "d2"}),
    ]
    assert ends_of([run], curves, other)[run.run_id].final == {"val/success": 0.4}
    found = ends_of([run], curves, [*other, evaluation(run, 8, 0.3)])[run.run_id]
    assert found.final == {"val/success": 0.4, "test/score": 0.3, "test/success": 0.3}
    assert found.best["test/score"] == 0.6


def test_an_arm_has_a_mean_where_each_of_its_runs_is_known() -> None:
    runs = [run_of(1), run_of(2)]
    curves = curves_of(r1=[0.1, 0.3, 0.5], r2=[0.1, 0.7, 0.3])
    (arm,) = arms_of(runs)
    row = ends_row(arm, ends_of(runs, curves, []))
    assert row["final test/success"] is None  # seed 2's is not known
    assert row["final val/success"] is not None
    assert row["final val/success"].value == 0.4
    assert row["best val/success"] is not None
    assert row["best val/success"].value == 0.6
    ends = ends_of(runs, curves, [evaluation(runs[1], 8, 0.2)])
    table = ends_table([arm], ends)
    assert table is not None
    assert list(table.columns[:3]) == ["arm", "best test/success", "final test/success"]
    assert table.rows[0][2].startswith("0.400 [")  # of 0.6 and 0.2
    assert ends_table(arms_of([make_run(status="FAILED")]), {}) is None
