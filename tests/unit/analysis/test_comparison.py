from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from analysis.arms import arms_of
from analysis.cautions import cautions
from analysis.comparison import MAX_ALL_PAIRS, Comparison, compare
from analysis.goals import GoalScores, mean_of
from analysis.load import Run
from analysis.plan import Planned, missing
from analysis.tables import (
    comparison_table,
    pairs_table,
    products_table,
    stages_table,
    summary_table,
    unfinished_table,
)
from analysis.verdict import verdict
from tests.support.analysis_runs import make_run, make_sweep
from webshop_rl.statistics import interval

PRODUCTS = tuple(f"B{i:02}" for i in range(30))
SPREAD = np.linspace(-0.1, 0.1, 30)


def goals(values: np.ndarray | float) -> GoalScores:
    filled = np.broadcast_to(values, (30,)).astype(float)
    return GoalScores(tuple(f"g{i}" for i in range(30)), PRODUCTS, np.ones(30), filled)


def no_tables(run: Run, evaluation: str) -> None:
    return None


def tables(run: Run, evaluation: str) -> GoalScores | None:
    """The test score of a run spread over goals; rule 0.5 on half the goals; the others were not measured."""
    if evaluation == "test":
        return goals(run.metrics["test/score"] + SPREAD)
    return goals(np.where(np.arange(30) < 15, 0.4, 0.6)) if evaluation == "baseline/rule" else None


def runs_of(levels: dict[str, list[float]], **params: str) -> list[Run]:
    rule = {"baseline/rule/score": 0.5, "baseline/rule/success": 0.1}
    return [
        make_run(algo, seed, score, metrics=rule, **params)
        for algo, scores in levels.items()
        for seed, score in enumerate(scores)
    ]


def one(runs: list[Run], read=tables) -> Comparison:
    (comparison,) = compare(arms_of(runs), "test/score", read)
    return comparison


def said(runs: list[Run], read=tables, **fields) -> str:
    return verdict(make_sweep(runs, **fields), compare(arms_of(runs), "test/score", read))


def warned(runs: list[Run], read=tables, **fields) -> str:
    arms = arms_of(runs)
    return " ".join(
        str(c) for c in cautions(make_sweep(runs, **fields), arms, compare(arms, "test/score", read))
    )


FAR = {"a": [0.80, 0.81, 0.82, 0.83], "b": [0.60, 0.61, 0.62, 0.63]}


def test_arms_far_apart_with_enough_seeds_differ():
    pair = one(runs_of(FAR)).pairs[0]
    assert (pair.high.label, pair.low.label) == ("algo=a", "algo=b")
    assert pair.over_seeds.value == pytest.approx(0.2)
    assert pair.p == pytest.approx(2 / 70)  # C(8, 4) = 70
    assert pair.improvement.value == 1
    assert pair.differs_beyond
    assert "algo=a is higher than algo=b, over seeds and over products." in said(runs_of(FAR))


def test_three_seeds_cannot_differ_however_far_apart():
    runs = runs_of({"a": [0.9, 0.91, 0.92], "b": [0.1, 0.11, 0.12]})
    pair = one(runs).pairs[0]
    assert pair.over_seeds.above  # the bootstrap alone would claim it
    assert not pair.differs
    words = said(runs)
    assert "algo=a and algo=b cannot be distinguished with these seeds." in words
    assert "luck once in 10 times; it takes 4 finished seeds an arm" in words
    assert "higher" not in words


def test_more_pairs_need_more_evidence():
    # p = 2/70 for one pair; of three pairs 6/70 = 0.086
    runs = runs_of({**FAR, "c": [0.4, 0.41, 0.42, 0.43]})
    comparison = one(runs)
    assert [round(pair.p, 3) for pair in comparison.pairs] == [0.086] * 3
    words = said(runs)
    assert "No two of the arms can be distinguished with these seeds." in words
    assert "(of 3 compared)" in words
    assert "it takes 5 finished seeds" in words


def test_a_lucky_single_seed_hides_no_finding_among_the_others():
    runs = runs_of({**FAR, "c": [0.99]})
    comparison = one(runs)
    assert comparison.num_pairs == 1  # a single seed is no test, so nothing to correct for
    words = said(runs)
    assert "The highest mean test/score is algo=c's, 0.990 (one seed)." in words
    assert "algo=a is higher than algo=b" in words
    assert "algo=c has one finished seed" in words
    assert "algo=c is higher" not in words


def test_overlapping_arms_do_not_differ_significantly_though_goals_would():
    # every goal is 0.02 higher in a: over products the interval is above 0, over seeds it is not
    runs = runs_of({"a": [0.5, 0.9, 0.52, 0.92], "b": [0.48, 0.88, 0.5, 0.9]})
    pair = one(runs).pairs[0]
    assert pair.over_goals is not None
    assert pair.over_goals.above
    assert not pair.differs
    assert "cannot be distinguished with these seeds" in said(runs)


def test_a_difference_on_few_products_is_claimed_for_these_goals_only():
    def read(run: Run, evaluation: str) -> GoalScores | None:
        # a is much better on 3 of 30 products and slightly worse on the rest: +0.2 on average
        gain = np.where(np.arange(30) < 3, 2.45, -0.05) if run.params["algo.name"] == "a" else 0.0
        return goals(0.6 + gain) if evaluation == "test" else None

    runs = runs_of(FAR)
    pair = one(runs, read).pairs[0]
    assert pair.differs
    assert not pair.differs_beyond
    assert "algo=a is higher than algo=b, over seeds, on these goals." in said(runs, read)


def test_without_tables_nothing_is_claimed_beyond_these_goals():
    runs = runs_of(FAR)
    assert "over seeds, on these goals" in said(runs, no_tables)
    assert "does not have the evaluation tables" in warned(runs, no_tables)
    rows = comparison_table(one(runs, no_tables)).rows
    assert [row[0] for row in rows] == ["algo=a", "algo=b", "rule"]


def test_training_goals_are_called_so():
    runs = runs_of(FAR, env__split="none")
    words = said(runs)
    assert "over seeds, on these training goals" in words
    assert "These are training goals (split none)" in words
    assert "over products" not in words
    assert "30 training goals of 30 products" in comparison_table(one(runs)).title


def test_scripted_policies_are_rows_and_compared_goal_by_goal():
    runs = runs_of({"a": [0.8, 0.8], "b": [0.5, 0.5], "c": [0.2, 0.2]})
    comparison = one(runs)
    assert comparison.results[0].against["baseline/rule"].value == pytest.approx(0.3)
    table = comparison_table(comparison)
    assert [row[0] for row in table.rows] == ["algo=a", "algo=b", "algo=c", "rule"]
    assert table.rows[-1][3].startswith("0.500 [")
    assert (
        "algo=a is above the scripted rule policy; algo=c is below it; algo=b cannot be distinguished from it"
    ) in said(runs)
    tied = said(runs_of({"a": [0.5, 0.5], "b": [0.5, 0.5]}))
    assert "no arm can be distinguished from the scripted rule policy" in tied


def test_untrained_policies_that_differ_get_a_row_each():
    runs = [
        make_run("a", s, 0.5, model__name=m, metrics={"untrained/score": u, "untrained/success": u})
        for m, u in (("tiny", 0.1), ("small", 0.2))
        for s in (0, 1)
    ]
    found = {(y.score, tuple(y.arms)) for y in one(runs, no_tables).baselines}
    assert found == {(0.1, ("model=tiny",)), (0.2, ("model=small",))}
    # Clones of which every arm starts from each: it is seeds that they differ by.
    runs = [
        make_run(a, s, 0.5, metrics={"untrained/score": 0.1 * s, "untrained/success": 0.1 * s})
        for a in ("a", "b")
        for s in (1, 2)
    ]
    found = {(y.score, tuple(y.arms)) for y in one(runs, no_tables).baselines}
    assert found == {(0.1, ("seed=1",)), (0.2, ("seed=2",))}


def test_arms_tested_on_other_episodes_are_kept_apart():
    runs = runs_of({"a": [0.9, 0.8]}, evaluation__seed="1") + runs_of({"a": [0.1, 0.2]}, evaluation__seed="2")
    comparisons = compare(arms_of(runs), "test/score", tables)
    assert [len(c.results) for c in comparisons] == [1, 1]
    words = verdict(make_sweep(runs), comparisons)
    assert "Test set 2 of 2" in words
    assert "are not compared" in words


def test_unequal_and_single_seeds_are_said():
    words = warned(runs_of({"a": [0.5, 0.6], "b": [0.7]}))
    assert "unequal numbers of finished seeds: algo=a 2, algo=b 1" in words
    assert "algo=b: only one finished seed: no interval over seeds" in words
    row = comparison_table(one(runs_of({"a": [0.5]}))).rows[0]
    assert row[1:5] == ["1", "0.500", "0.500", "0.500"]
    assert "apo" not in said(runs_of({"a": [0.5]}))
    assert "0.500 (one seed)" in said(runs_of({"a": [0.5]}))
    # Of runs that were lost another caution speaks: to launch more seeds is no remedy for that.
    lost = warned([*runs_of({"a": [0.5, 0.6, 0.7], "b": [0.7, 0.8]}), make_run("b", 2, status="FAILED")])
    assert "unequal" not in lost
    assert "1 of 3 runs did not finish" in lost


def test_failures_are_counted_listed_and_warned_of():
    broken = make_run("b", 5, status="FAILED", tags={"error": "Diverged: at 8"})
    going = make_run("b", 6, status="RUNNING", metrics={"val/success": 0.25})
    runs = [*runs_of(FAR), broken, going, make_run("c", 0, status="FAILED")]
    words = said(runs, unrecorded={"FAILED": 2})
    assert words.startswith(
        "PRELIMINARY, the sweep is not over: 8 of 13 runs finished (1 running, 4 failed)."
    )
    table = unfinished_table(
        make_sweep(runs, unrecorded={"FAILED": 2}), arms_of(runs), {going.run_id: 7, broken.run_id: 8}
    )
    assert table is not None
    cells = [list(row[1:]) for row in table.rows]
    assert ["algo=b", "5", "failed", "8/20", "-", "Diverged: at 8"] in cells
    assert ["algo=b", "6", "running", "7/20", "0.250", ""] in cells
    assert ["algo=c", "0", "failed", "0/20", "-", "no error recorded"] in cells
    assert cells[-1][-1] == "2 not in MLflow"
    words = warned(runs, unrecorded={"FAILED": 2})
    assert "algo=b: 1 run of 6 not over; its numbers will change." in words
    assert "algo=b: 1 of 6 runs did not finish" in words
    assert "algo=c: no run finished" in words
    assert "counted 2 failed more than MLflow has" in words
    assert unfinished_table(make_sweep(runs_of(FAR)), arms_of(runs_of(FAR)), {}) is None


def test_a_sweep_that_is_not_over_is_preliminary_and_names_what_is_to_come():
    # 3 algorithms x 8 seeds: of a all are done, of b two and one is running, of c none has started.
    plan = [Planned(f"{a}{s}", f"{a}-5e-06-{s}", (f"algo={a}", f"seed={s}")) for a in "abc" for s in range(8)]
    done = [make_run("a", seed, 0.5 + seed / 100) for seed in range(8)]
    done += [make_run("b", seed, 0.4 + seed / 100) for seed in range(2)]
    runs = [*done, make_run("b", 2, status="RUNNING")]
    absent = missing(plan, [run.signature for run in runs])
    fields = {"to_come": absent.to_come, "arms_to_come": absent.arms_to_come}
    assert said(runs, **fields).startswith(
        "PRELIMINARY, the sweep is not over: 10 of 24 runs finished (1 running, 13 to come)."
    )
    words = warned(runs, **fields)
    assert "algo=c: no run yet (8 to come), so it is in no comparison." in words
    assert absent.beside == {"b-5e-06-0": 5, "b-5e-06-1": 5, "b-5e-06-2": 5}
    listed = [replace(run, to_come=absent.beside.get(run.signature, 0)) for run in runs]
    assert "algo=b: 5 of 8 runs have not started; its numbers will change." in warned(listed, **fields)
    assert {row[0]: row[1] for row in summary_table(one(listed), {}, cost={}).rows} == {
        "algo=a": "8",
        "algo=b": "2 of 8",
    }
    assert "did not finish" not in words
    assert "may flatter" not in words
    # One of c failed before it could be recorded.
    plan[-1] = replace(plan[-1], failed=True)
    absent = missing(plan, [run.signature for run in runs])
    assert (absent.failed, absent.to_come, absent.arms_to_come) == (1, 12, {"algo=c": 7})


def test_a_sweep_without_a_finished_run_says_so():
    runs = [make_run(status="FAILED")]
    assert said(runs) == (
        "0 of 1 runs finished (1 failed). "
        "No run has finished with a test, so there is nothing to compare yet."
    )


def test_products_count_by_their_weight():
    """Thirty products, one of which has 20 of the 49 episodes: 49² / (20² + 29) = 5.6 in effect."""

    def heavy(run: Run, evaluation: str) -> GoalScores | None:
        found = goals(0.5 + SPREAD)
        names = tuple(f"p{i}" for i in range(30))
        weights = np.where(np.arange(30) == 0, 20.0, 1.0)
        return GoalScores(found.goals, names, weights, np.where(np.arange(30) == 0, 1.0, 0.0))

    runs = runs_of({"a": [0.5, 0.5]})
    assert "The test goals ask for 30 products (in effect 5.6): intervals" in warned(runs, heavy)
    assert "in effect" not in warned(runs)
    table = products_table(one(runs, heavy))
    assert table.rows[0][1].startswith("0.408")  # 20 of 49 episodes
    assert table.rows[0][2].startswith("0.033")  # one of 30 products


def test_low_rates_are_pointed_out():
    assert "Success below 0.1 (algo=a 0.050)" in warned(runs_of({"a": [0.05, 0.05], "b": [0.5, 0.5]}))
    assert "Success below" not in warned(runs_of({"a": [0.1, 0.1], "b": [0.5, 0.5]}))


def test_equal_scores_are_no_certainty():
    runs = runs_of({"a": [1.0, 1.0], "b": [1.0, 1.0]})
    assert "All arms have the same mean test/score, 1.000." in said(runs)
    assert "All seeds scored the same in algo=a; algo=b" in warned(runs)


def test_other_things_to_keep_in_mind():
    health = {"health/no_success": 1.0}
    runs = [
        make_run("a", 0, 0.5, tags={"code_digest": "old", "resume_mismatches": "3"}, metrics=health),
        make_run("a", 1, 0.5, env__max_steps="10"),
        make_run("a", 2, 0.5, env__max_steps="15", env__split="published"),
    ]
    words = warned(runs, no_tables, replaced=[runs[0]])
    assert "different code: c0de (2 runs), old (1 run)" in words
    assert "did not resume exactly: 3 values" in words
    assert "Health checks warned during training: no_success (1 run: " in words
    assert "The arms differ in the shop itself (env.max_steps, env.split): a difference may be" in words
    assert "products of the test goals are among those trained on" in words
    assert "1 run that a newer one" in words


def test_of_many_arms_one_is_compared_with_the_others():
    levels = {f"a{i}": [0.5 + i / 100, 0.5 + i / 100 + 0.001] for i in range(MAX_ALL_PAIRS)}
    comparison = one(runs_of({**levels, "z": [0.99]}))  # the single seed does not lead
    assert not comparison.complete
    leader = f"algo=a{MAX_ALL_PAIRS - 1}"
    assert all(leader in (p.high.label, p.low.label) for p in comparison.pairs)
    assert comparison.num_pairs == MAX_ALL_PAIRS * (MAX_ALL_PAIRS - 1) // 2
    table = pairs_table(comparison)
    assert table is not None
    assert "one is compared with each other one" in table.note


def test_mean_over_runs_needs_the_same_goals():
    assert mean_of([goals(0.2), goals(0.4)]).values[0] == pytest.approx(0.3)
    assert mean_of([goals(0.2), None]) is None
    other = GoalScores(("h",), ("B",), np.ones(1), np.ones(1))
    assert mean_of([goals(0.2), other]) is None
    with pytest.raises(ValueError, match="not measured on the same goals"):
        goals(0.2).minus(other)


def test_a_cell_can_hold_what_an_error_says():
    run = make_run(status="FAILED", tags={"error": "a | b\n<script>"})
    table = unfinished_table(make_sweep([run]), arms_of([run]), {})
    assert table is not None
    assert "a \\| b &lt;script>" in table.markdown()


def test_intervals_are_written_with_their_sign_where_they_are_differences():
    estimate = one(runs_of(FAR)).pairs[0].over_seeds
    assert interval(estimate, signed=True).startswith("+0.200 [+0.1")
    assert interval(None) == "-"


def test_stages_of_a_curriculum_are_rows_in_their_order() -> None:
    """Two seeds: 1.0 and 0.8 at the first stage; only one reached the second."""
    stages = json.dumps([{"name": "products_50"}, {"name": "products_100"}])
    first, second = (
        make_run(seed=seed, score=0.5, curriculum__stages=stages, metrics=metrics)
        for seed, metrics in enumerate(
            (
                {
                    "stage/products_50/test_success": 1.0,
                    "stage/products_50/forgetting": 0.0,
                    "stage/products_50/baseline_rule_success": 0.9,
                    "stage/products_100/test_success": 0.25,
                    "stage/products_100/forgetting": 0.25,
                },
                {"stage/products_50/test_success": 0.8, "stage/products_50/forgetting": 0.1},
            )
        )
    )
    table = stages_table(one([first, second]))
    assert table is not None
    assert [row[1] for row in table.rows] == ["products_50", "products_100"]
    assert [cell.split(" ")[0] for cell in table.rows[0][2:]] == ["0.900", "0.900", "0.050"]
    assert [cell.split(" ")[0] for cell in table.rows[1][2:]] == ["0.250", "-", "0.250"]
    assert stages_table(one(runs_of({"a": [0.5]}))) is None
