"""Groups whose returns are all equal, left out or replaced: what is learnt from, what counts, resuming."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.shop5_parts import composed
from tests.support.training_attempts import Attempt, history, metric, resumed_after_dying_anywhere
from tests.support.training_stand_ins import Crashes, Killed
from webshop_rl.config.groups import CurriculumConfig
from webshop_rl.config.schema import CollectionConfig
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.types import Trajectory, Turn
from webshop_rl.training.sampling import Collection, equal_goals

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

GOALS = [Goal(f"g{i}", f"a{i}", "") for i in range(4)]


def played(goal: int, *returns: float) -> list[Trajectory]:
    return [Trajectory(GOALS[goal], 0, 0, turns=[Turn("", "", "", r, True)]) for r in returns]


def names(trajectories: list[Trajectory]) -> list[str]:
    return [t.goal.id for t in trajectories]


def test_a_group_is_equal_if_all_its_returns_are_and_there_are_two() -> None:
    everything = [*played(0, 1.0, 1.0), *played(1, 1.0, 0.0), *played(2, 0.0), *played(3, 0.1 + 0.2, 0.3)]
    assert equal_goals(everything) == {"g0", "g3"}  # rounding is no difference; one alone is no group
    nothing_dropped = Collection(drops_equal=False)
    nothing_dropped.add(GOALS, [], everything)
    assert nothing_dropped.kept == everything
    assert nothing_dropped.metrics() == {}


def test_a_goal_that_comes_up_again_is_judged_with_all_its_episodes() -> None:
    collection = Collection(drops_equal=True)
    collection.add(GOALS[:2], [], [*played(0, 0.0, 0.0), *played(1, 0.0, 1.0)])
    assert names(collection.kept) == ["g1", "g1"]
    collection.add([GOALS[0]], [], played(0, 1.0, 1.0))
    # Four episodes of g0 under one policy, two of them better: no longer equal, and they stand for two goals.
    assert names(collection.kept) == ["g0", "g0", "g1", "g1", "g0", "g0"]
    assert [goal.id for goal in collection.kept_goals] == ["g0", "g1", "g0"]


class Watched(Attempt):
    """An attempt whose policy succeeds at times from the start, and which notes what is learnt from."""

    def __init__(self, folder: Path, crashes: Crashes | None = None, skill: float = 0.4, **rest: Any) -> None:
        super().__init__(folder, crashes, **rest)
        self.collector._network.weight.data.fill_(skill)
        self.learnt: list[list[Trajectory]] = []
        learn = self.trainer._learner.learn

        def spied(trajectories: Any, vstar: Any, update: int) -> Any:
            self.learnt.append(list(trajectories))
            return learn(trajectories, vstar, update)

        self.trainer._learner.learn = spied  # type: ignore[method-assign]


def rules(equal_groups: str, max_rounds: int = 4) -> CollectionConfig:
    return CollectionConfig(equal_groups=equal_groups, max_rounds=max_rounds, replay_best=False)


def is_equal(group: list[Trajectory]) -> bool:
    return len({t.episode_return for t in group}) == 1


def by_goal(trajectories: list[Trajectory]) -> dict[str, list[Trajectory]]:
    groups: dict[str, list[Trajectory]] = {}
    for t in trajectories:
        groups.setdefault(t.goal.id, []).append(t)
    return groups


def test_dropped_groups_are_not_learnt_from_and_count_as_played(tmp_path: Path) -> None:
    kept = Watched(tmp_path / "keep", skill=0.2)
    dropping = Watched(tmp_path / "drop", skill=0.2, collection=rules("drop"))
    kept.run()
    dropping.run()
    # The same first collection, without its equal groups.
    groups = by_goal(kept.learnt[0])
    rest = [t.seed for group in groups.values() if not is_equal(group) for t in group]
    assert rest
    assert len(rest) < 6
    assert [t.seed for t in dropping.learnt[0]] == rest
    assert all(not is_equal(g) for learnt in dropping.learnt for g in by_goal(learnt).values())
    # Two goals of three episodes an update, whatever was dropped of them.
    assert metric(tmp_path / "drop", "train/episodes") == [6 * k for k in range(1, 11)]
    dropped = metric(tmp_path / "drop", "train/episodes_dropped")
    assert dropped[-1] == 60 - sum(map(len, dropping.learnt)) > 0
    assert [3 * sum(metric(tmp_path / "drop", "train/goals_dropped"))] == [dropped[-1]]
    assert not [name for name, _ in history(tmp_path / "keep") if "dropped" in name]


def test_where_every_group_is_dropped_the_update_counts_and_no_step_is_taken(tmp_path: Path) -> None:
    attempt = Watched(tmp_path, skill=0.0, collection=rules("drop"), per_collection=2)
    attempt.run()
    assert attempt.learnt == []
    assert float(attempt.collector._network.weight.detach()) == 0
    assert metric(tmp_path, "train/episodes_dropped") == [6, 6, 12, 12, 18, 18, 24, 24, 30, 30]
    assert "optim/loss" not in {name for name, _ in history(tmp_path)}


def test_other_goals_are_played_in_the_place_of_dropped_ones(tmp_path: Path) -> None:
    attempt = Watched(tmp_path, collection=rules("resample", 50))
    played: list[str] = []
    collect = attempt.collector.collect

    def spied(specs: Any, *, temperature: float, **rest: Any) -> Any:
        if temperature > 0:
            played.extend(spec.goal.id for spec in specs[::3])
            assert len({spec.seed for spec in specs}) == len(specs)
        return collect(specs, temperature=temperature, **rest)

    attempt.collector.collect = spied  # type: ignore[method-assign]
    attempt.run()
    assert all(len(by_goal(learnt)) >= 1 and len(learnt) >= 6 for learnt in attempt.learnt)
    assert all(not is_equal(g) for learnt in attempt.learnt for g in by_goal(learnt).values())
    # Every pass over the five goals has each of them once, replacements included.
    passes = [played[i : i + 5] for i in range(0, len(played) - 4, 5)]
    assert len(passes) > 2
    assert all(sorted(five) == sorted(g.id for g in Shop5().goals("train")) for five in passes)
    assert metric(tmp_path, "train/episodes")[-1] == 3 * len(played) > 60
    assert sum(metric(tmp_path, "train/goals_played")) == len(played)


def test_rounds_are_limited_and_each_plays_new_episodes(tmp_path: Path) -> None:
    attempt = Watched(tmp_path, skill=0.0, collection=rules("resample", 30), num_updates=2)
    seeds: list[int] = []
    collect = attempt.collector.collect

    def spied(specs: Any, *, temperature: float, **rest: Any) -> Any:
        seeds.extend(spec.seed for spec in specs if temperature > 0)
        return collect(specs, temperature=temperature, **rest)

    attempt.collector.collect = spied  # type: ignore[method-assign]
    attempt.run()
    assert metric(tmp_path, "train/episodes") == [180, 360]  # thirty rounds of two goals, all of them alike
    assert metric(tmp_path, "train/goals_dropped") == [60, 60]
    assert len(set(seeds)) == 360  # a goal that comes up again is played anew


def test_a_budget_of_episodes_counts_those_that_were_dropped(tmp_path: Path) -> None:
    """18 episodes a collection where 6 are planned: 40 are reached in the third, not in the seventh."""
    attempt = Watched(tmp_path, skill=0.0, collection=rules("resample", 3), num_updates=None, num_episodes=40)
    attempt.run()
    assert metric(tmp_path, "train/episodes") == [18, 36, 54]
    assert attempt.trainer.progress.evaluated == 3


@pytest.mark.parametrize("kind", [Killed, Preempted])
def test_resuming_is_exact(tmp_path: Path, kind: type[BaseException]) -> None:
    options: dict[str, Any] = {
        "vstar": True,
        "collection": rules("resample", 3),
        "per_collection": 2,
        "num_updates": 6,
    }
    points = resumed_after_dying_anywhere(tmp_path, kind, attempt=Watched, **options)
    assert sum(1 for _ in points) > 10
    assert metric(tmp_path / "calm", "train/goals_played") != [2.0] * 5  # something was replaced


def test_with_a_curriculum_replacements_are_of_the_same_stage(tmp_path: Path) -> None:
    """Groups of stage a are equal in the first round alone, those of stage b always."""
    goals = [Goal(f"{name}/{i}", f"{name}{i}", "", stage=name) for name in "ab" for i in range(50)]
    curriculum = CurriculumConfig(
        name="test",
        stages=[{"name": "a"}, {"name": "b"}],
        window=10,
        promote_at=0.5,
        demote_below=0.0,
        min_collections=9,
        replay=0.5,
    )
    options: dict[str, Any] = {"curriculum": curriculum, "goals": goals, "algo__goals_per_update": 6}
    attempt = Watched(tmp_path, collection=rules("resample", 4), num_updates=1, **options)
    state = attempt.trainer._curriculum.state  # type: ignore[union-attr]
    state.stage = state.reached = 1
    rounds: list[list[str]] = []
    collect = attempt.collector.collect

    def spied(specs: Any, *, temperature: float, **rest: Any) -> Any:
        played = collect(specs, temperature=temperature, **rest)
        if temperature > 0:
            for k, t in enumerate(played):
                t.turns[0].reward = float(k % 2 and t.goal.stage == "a" and bool(rounds))
            rounds.append([spec.goal.id for spec in specs[::3]])
        return played

    attempt.collector.collect = spied  # type: ignore[method-assign]
    attempt.run()
    stages = ["".join(goal[0] for goal in goals) for goals in rounds]
    first = stages[0]
    assert 0 < first.count("a") < 6
    assert stages == [first, first, "b" * first.count("b"), "b" * first.count("b")]
    assert len({goal for goals in rounds for goal in goals}) == sum(map(len, rounds))
    assert state.drawn == [2 * first.count("a"), 4 * first.count("b")]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["algo=bc"], "one trajectory has no other to be equal to"),
        (["algo=ppo", "algo.group_size=2", "algo.num_minibatches=4"], "makes no 4 minibatches"),
        (["control=permuted_rewards"], "the control takes away"),
    ],
)
def test_settings_that_do_not_fit_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed("collection.equal_groups=drop", *overrides)
    composed(*overrides)
