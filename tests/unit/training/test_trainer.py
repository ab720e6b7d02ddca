"""The loop around collection and learning: what it plays, when it evaluates and saves, what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.training_attempts import HUMP, Attempt, history, kept, updates
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import EndReason
from webshop_rl.errors import UserError
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


def test_an_undisturbed_run(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    assert attempt.run() == 10
    values = history(tmp_path)
    assert [step for name, step in values if name == "val/success"] == [0, 4, 8, 10]
    assert [step for name, step in values if name == "optim/loss"] == list(range(1, 11))
    assert kept(tmp_path) == [8, 10]  # the one before the last is there until the run is tidied
    assert updates(tmp_path) == list(range(1, 11))
    assert attempt.collector.temperatures.count(0.0) == 4
    assert attempt.collector.temperatures.count(0.7) == 10


def test_the_best_is_kept_and_is_the_earliest_of_equals(tmp_path: Path) -> None:
    assert Attempt(tmp_path, path=HUMP).run() == 4
    assert kept(tmp_path) == [4, 7, 10]
    flat = tmp_path / "flat"
    assert Attempt(flat, path=[0.0] * 40).run() == 0


def test_a_run_shorter_than_a_collection_stops_where_it_was_told(tmp_path: Path) -> None:
    Attempt(tmp_path, per_collection=4, num_updates=6).run()
    assert updates(tmp_path) == [1, 2, 3, 4, 5, 6]
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert Attempt(nothing, num_updates=0).run() == 0


def test_a_best_checkpoint_that_is_gone_is_one_line(tmp_path: Path) -> None:
    Attempt(tmp_path, path=HUMP).run()
    (tmp_path / "checkpoints" / "update_000004" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"best checkpoint \(update 4\)"):
        Attempt(tmp_path, path=HUMP).run()


def test_a_collection_without_turns_ends_with_advice(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, evaluation__val_episodes=1)
    attempt.collector.collect = lambda specs, **_: [  # type: ignore[method-assign,assignment]
        Trajectory(s.goal, s.sample, s.seed, end=EndReason.CONTEXT) for s in specs
    ]
    with pytest.raises(UserError, match=r"model\.context_tokens"):
        attempt.run()


def test_health_warnings_are_said_once_and_logged_each_time(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, path=[0.0] * 40, num_updates=14)
    attempt.run()
    assert len([line for line in attempt.said if "no_success" in line]) == 1
    flagged = [step for name, step in history(tmp_path) if name == "health/no_success"]
    assert flagged == [10, 11, 12, 13, 14]


def test_the_best_checkpoint_is_chosen_by_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webshop_rl.training.trainer.rank", lambda means: (0.0, 0.0, means["return_mean"]))
    attempt = Attempt(tmp_path)
    attempt.run()
    assert attempt.trainer.progress.best[:2] == (0.0, 0.0)


def test_what_a_checkpoint_remembers_is_plain_json(tmp_path: Path) -> None:
    Attempt(tmp_path).run()
    state = json.loads((tmp_path / "checkpoints" / "update_000010" / "state.json").read_text())
    assert (state["update"], state["evaluated"], state["best_update"]) == (10, 10, 10)
    assert len(state["health"]) == 10


def test_each_trajectory_is_compared_with_vstar_of_its_own_goal(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, vstar=True, num_updates=3, algo__goals_per_update=3)
    seen: list[tuple[list[str], list[float]]] = []
    learn = attempt.trainer._learner.learn

    def spied(trajectories: Any, vstar: Any, update: int) -> Any:
        seen.append(([t.goal.id for t in trajectories], vstar))
        return learn(trajectories, vstar, update)

    values = {goal.id: 0.1 * float(goal.asin) for goal in Shop5().goals("train")}
    attempt.trainer._learner.learn = spied  # type: ignore[method-assign]
    attempt.trainer._vstar.of = lambda goals, number: {g.id: values[g.id] for g in goals}  # type: ignore
    attempt.run()
    assert len(seen) == 3
    for goals, vstar in seen:
        assert vstar == [values[goal] for goal in goals]
        assert len(set(vstar)) == 3


def test_each_update_plays_the_next_goals_and_new_episodes(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    played: list[list[EpisodeSpec]] = []
    collect = attempt.collector.collect

    def spied(specs: Any, *, temperature: float, top_p: float = 1.0, prompter: Any = None) -> Any:
        if temperature > 0:
            played.append(list(specs))
        return collect(specs, temperature=temperature, top_p=top_p)

    attempt.collector.collect = spied  # type: ignore[method-assign]
    attempt.run()
    # Ten updates of two goals are four passes over the five goals, a group of three each time.
    assert [len(specs) for specs in played] == [6] * 10
    goals = [spec.goal.id for specs in played for spec in specs]
    for one_pass in range(4):
        each = goals[15 * one_pass : 15 * (one_pass + 1)]
        assert {goal: each.count(goal) for goal in each} == {g.id: 3 for g in Shop5().goals("train")}
    assert len({spec.seed for specs in played for spec in specs}) == 60
