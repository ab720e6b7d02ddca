"""Goals of a collection, seeds of its episodes, rewards dealt across goals, adaptive samples."""

from __future__ import annotations

from collections import Counter

import pytest

from webshop_rl.envs.types import Goal
from webshop_rl.rollout.types import Trajectory, Turn
from webshop_rl.training.collection import goals_of, group_specs
from webshop_rl.training.control import permute_rewards
from webshop_rl.training.vstar import adaptive_samples

GOALS = [Goal(f"g{i}", f"a{i}", "") for i in range(5)]


def test_every_pass_asks_for_every_goal_once_in_a_new_order() -> None:
    drawn = [goal.id for iteration in range(10) for goal in goals_of(GOALS, iteration, 4, seed=3)]
    passes = [drawn[i : i + 5] for i in range(0, 40, 5)]
    assert all(sorted(p) == [g.id for g in GOALS] for p in passes)
    assert len({tuple(p) for p in passes}) > 4


def test_by_product_every_pass_asks_for_every_product_once_and_each_of_its_goals_in_turn() -> None:
    goals = [Goal(f"g{i}", f"a{min(i, 3)}", "") for i in range(8)]  # a3 has five of the eight
    drawn = [goal for iteration in range(20) for goal in goals_of(goals, iteration, 2, seed=3, by="product")]
    passes = [[goal.asin for goal in drawn[i : i + 4]] for i in range(0, 40, 4)]
    assert all(sorted(p) == ["a0", "a1", "a2", "a3"] for p in passes)
    assert len({tuple(p) for p in passes}) > 4
    many = [goal.id for goal in drawn if goal.asin == "a3"]
    assert [sorted(many[i : i + 5]) for i in (0, 5)] == [["g3", "g4", "g5", "g6", "g7"]] * 2
    assert many[:5] != many[5:]


def test_a_collection_is_a_function_of_seed_and_index() -> None:
    assert goals_of(GOALS, 7, 4, seed=3) == goals_of(GOALS, 7, 4, seed=3)
    several = [[g.id for g in goals_of(GOALS, 0, 4, seed=s)] for s in range(6)]
    assert len({tuple(s) for s in several}) > 3


def test_more_goals_a_collection_than_there_are() -> None:
    assert Counter(g.id for g in goals_of(GOALS, 0, 12, seed=0)).most_common()[0][1] == 3


def test_every_episode_has_a_seed_of_its_own() -> None:
    specs = [
        spec
        for seed in range(3)
        for iteration in range(4)
        for spec in group_specs(goals_of(GOALS, iteration, 6, seed), 8, iteration, seed)
    ]
    assert len({s.seed for s in specs}) == 3 * 4 * 6 * 8
    assert [s.sample for s in specs[:9]] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert specs[0].goal == specs[7].goal != specs[8].goal
    assert all(0 <= s.seed < 2**63 for s in specs)


def played(goal: int, *rewards: float) -> Trajectory:
    turns = [Turn("", "", "", r, True) for r in rewards]
    return Trajectory(GOALS[goal], 0, 0, turns=turns, score=1.0)


def test_permuted_rewards_come_from_other_goals_and_stand_at_the_end() -> None:
    trajectories = [played(0, 0.3, 1.0), played(0, 0.0, 0.1), played(1, 2.0), played(2, 3.0, 4.0)]
    dealt = permute_rewards(trajectories, [0, 0])
    returns = {0: {1.3, 0.1}, 1: {2.0}, 2: {7.0}}
    for before, after in zip(trajectories, dealt, strict=True):
        others = {r for g, rs in returns.items() if f"g{g}" != before.goal.id for r in rs}
        assert min(abs(after.episode_return - r) for r in others) < 1e-9
        assert [t.reward for t in after.turns[:-1]] == [0.0] * (len(after.turns) - 1)
        assert (after.goal, after.segments, after.score) == (before.goal, before.segments, before.score)
    assert trajectories[0].episode_return == pytest.approx(1.3)  # what was collected is left alone
    assert [t.episode_return for t in permute_rewards(trajectories, [0, 0])] == [
        t.episode_return for t in dealt
    ]


def test_what_a_trajectory_is_dealt_does_not_depend_on_what_it_earned() -> None:
    """Over many deals a good and a bad episode of one goal get the same on average."""
    trajectories = [played(0, 1.0), played(0, 0.0), played(1, 1.0), played(1, 0.0), played(2, 0.5)]
    sums = [0.0] * 5
    for deal in range(3000):
        for i, trajectory in enumerate(permute_rewards(trajectories, [deal])):
            sums[i] += trajectory.episode_return / 3000
    assert sums[0] == pytest.approx(sums[1], abs=0.03)
    assert sums[2] == pytest.approx(sums[3], abs=0.03)


def test_with_a_single_goal_returns_are_dealt_within_it() -> None:
    dealt = permute_rewards([played(0, 1.0), played(0, 0.0)], [1])
    assert {t.episode_return for t in dealt} <= {0.0, 1.0}


def test_fewer_reference_samples_by_thirds_of_the_run() -> None:
    assert [adaptive_samples(8, u, 30) for u in (0, 9, 10, 19, 20, 29, 30)] == [8, 8, 4, 4, 2, 2, 2]
    assert [adaptive_samples(1, u, 30) for u in (0, 15, 29)] == [1, 1, 1]
