"""Which episodes are evaluated."""

from __future__ import annotations

from webshop_rl.envs.types import Goal
from webshop_rl.evaluation.episodes import evaluation_specs

GOALS = [Goal(f"g{i}", f"asin{i}", f"wish {i}") for i in range(10)]


def test_fewer_goals_than_episodes_are_taken_in_turn() -> None:
    specs = evaluation_specs(GOALS[:3], 7, seed=1)
    order = [s.goal.id for s in specs[:3]]
    assert sorted(order) == ["g0", "g1", "g2"]
    assert [s.goal.id for s in specs] == [*order, *order, order[0]]
    assert [s.sample for s in specs] == [0, 0, 0, 1, 1, 1, 2]
    assert len({s.seed for s in specs}) == 7


def test_no_product_is_played_again_before_every_other_that_has_goals_left() -> None:
    """Products of 1, 2, 3 and 10 goals: rounds of 4, 3 and 2 products, then the large one alone."""
    sizes = {"a": 1, "b": 2, "c": 3, "d": 10}
    goals = [Goal(f"{asin}{i}", asin, "") for asin, size in sizes.items() for i in range(size)]
    for seed in range(5):
        products = [s.goal.asin for s in evaluation_specs(goals, 16, seed=seed)]
        assert [set(products[:4]), set(products[4:7]), set(products[7:9])] == [
            set("abcd"),
            set("bcd"),
            set("cd"),
        ]
        assert products[9:] == ["d"] * 7
        whole = [s.goal.id for s in evaluation_specs(goals, None, seed=seed)]
        assert sorted(whole) == sorted(goal.id for goal in goals)
        assert [s.goal.id for s in evaluation_specs(goals, 6, seed=seed)] == whole[:6]
    first = {evaluation_specs(goals, 1, seed=seed)[0].goal.id for seed in range(40)}
    assert {goal[0] for goal in first} == set("abcd")
    assert len(first) > 8  # which goal of a product comes first is drawn, too


def test_more_goals_than_episodes_are_picked_and_always_the_same() -> None:
    for number in range(1, 11):
        assert len({s.goal.id for s in evaluation_specs(GOALS, number, seed=1)}) == number
    assert evaluation_specs(GOALS, 4, seed=1) == evaluation_specs(GOALS, 4, seed=1)
    assert evaluation_specs(GOALS, 4, seed=1) != evaluation_specs(GOALS, 4, seed=2)
