"""Two arms beside each other, by hand."""

from __future__ import annotations

from typing import Any

from analysis.arms import arms_of
from analysis.comparison import compare
from analysis.page import comparison_html
from analysis.sides import (
    configuration_table,
    flipped,
    flipped_tables,
    metrics_table,
    side_by_side,
    turned,
)
from analysis.survey import survey
from tests.support.analysis_runs import make_run
from webshop_rl.statistics import Estimate

SOLVED = {"a": ("g0", "g1"), "b": ("g1", "g2")}


def sides() -> list[Any]:
    runs = [make_run(algo, seed, 0.5 + 0.1 * (algo == "a") + 0.01 * seed) for algo in "ab" for seed in (0, 1)]
    return arms_of(runs)


def episodes(run: Any) -> list[dict[str, Any]]:
    """Three goals, of which a solves the first two and b the last two; the third fails in a loop."""
    algo = run.params["algo.name"]
    turn = {"page": "p", "reply": "<b>", "action": "click[x]", "reward": 0.0, "valid": True, "parts": {}}
    turn |= {"kind": "open", "page_kind": "results", "asins": [], "chosen": {}}
    return [
        {
            "goal": goal, "asin": "A", "instruction": f"wanted {goal}", "score": float(goal in SOLVED[algo]),
            "success": goal in SOLVED[algo], "end": "max_steps", "bought": "", "turns": [turn] * 4,
        }
        for goal in ("g0", "g1", "g2")
    ]  # fmt: skip


def test_goals_flip_in_both_directions_and_are_shown_side_by_side() -> None:
    a, b = sides()
    played = survey((a, b), episodes, samples=None)
    assert all(episode.record for episode in played)
    assert flipped(played, a.label, b.label) == ["g0"]
    assert flipped(played, b.label, a.label) == ["g2"]
    ours, theirs = flipped_tables(a, b, played)
    assert ours.title == "algo=a solves, algo=b does not: 1 goal"
    assert list(ours.rows[0]) == ["g0", "wanted g0", "1.00", "0.00", "loop"]
    assert [row[0] for row in theirs.rows] == ["g2"]
    shown = [(p.goal, p.ours.success, p.theirs.success) for p in side_by_side(a, b, played)]
    assert shown == [("g0", True, False), ("g2", False, True)]
    page = comparison_html("a and b", "By test/score", [ours], side_by_side(a, b, played))
    assert page.count("<article>") == 4
    assert "&lt;b&gt;" in page
    assert "<b>&" not in page


def test_differences_are_a_minus_b_whichever_is_higher() -> None:
    a, b = sides()
    for ours, theirs, sign in ((a, b, "+0.100"), (b, a, "-0.100")):
        (comparison,) = compare([ours, theirs], "test/score", lambda run, evaluation: None)
        (row,) = (row for row in metrics_table(ours, theirs, [comparison]).rows if row[0] == "test/score")
        assert row[3].startswith(f"{sign} [")
        low, high = map(float, row[3].split("[")[1].rstrip("]").split(","))
        assert low <= float(sign) <= high
    assert turned(Estimate(0.2, 0.1, 0.4, 3), -1.0) == Estimate(-0.2, -0.4, -0.1, 3)


def test_seeds_are_a_difference_of_runs_and_not_of_arms() -> None:
    a, b = sides()
    keys = [row[0] for row in configuration_table(a, b).rows]
    assert keys == ["algo"]
    first, second = (arms_of([run])[0] for run in a.runs)
    assert [row[0] for row in configuration_table(first, second).rows] == ["seed"]
