"""How varied a collection's replies are, by hand."""

from __future__ import annotations

import math

from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.training.diversity import decision_entropy, diversity_metrics, replies_alike


def played(goal: str, *replies: str, segment: Segment | None = None) -> Trajectory:
    turns = [Turn("", reply, "", 0.0, True) for reply in replies]
    return Trajectory(Goal(goal, goal, ""), 0, 0, [segment or Segment()], turns, end=EndReason.BOUGHT)


def test_entropy_is_the_mean_over_decisions_alone() -> None:
    segment = Segment()
    segment.append_context([1, 2])
    segment.append_action(3, math.log(0.5), 0, None)
    segment.append_action(4, 0.0, 0, None, decision=False)
    segment.append_action(5, math.log(0.25), 0, None)
    # -(log 1/2 + log 1/4) / 2 = 1.5 log 2
    assert math.isclose(decision_entropy([played("a", "x", segment=segment)]) or 0, 1.5 * math.log(2))
    assert decision_entropy([played("a", "x")]) is None


def test_episodes_of_different_goals_are_compared_turn_by_turn() -> None:
    # Turn 0: each of a's two with b and with c, and b with c: 5 pairs, of which a's with b are equal: 2.
    # Turn 1, which b has not: each of a's two with c: 2 pairs, both equal. 4 of 7.
    collection = [played("a", "s", "buy"), played("a", "s", "buy"), played("b", "s"), played("c", "t", "buy")]
    assert replies_alike(collection) == 4 / 7


def test_one_template_and_nothing_shared() -> None:
    assert replies_alike([played(goal, "search", "click", "buy") for goal in "abcd"]) == 1
    assert replies_alike([played(goal, f"search {goal}", f"click {goal}") for goal in "abcd"]) == 0


def test_a_single_goal_says_nothing() -> None:
    assert replies_alike([played("a", "s"), played("a", "s")]) is None
    assert diversity_metrics([played("a", "s"), played("a", "s")]) == {}
