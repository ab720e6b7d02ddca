"""A curriculum in the loop: whose goals are played, what is validated, and that a crash loses none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.training_attempts import Attempt, history, metric
from tests.support.training_stand_ins import Crashes, Killed, StandInCollector
from webshop_rl.config.groups import CurriculumConfig
from webshop_rl.envs.types import Goal
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

NAMES = ("a", "b", "c")
GOALS = [Goal(f"{name}/{i}", f"{name}{i}", "", stage=name) for name in NAMES for i in range(4)]
# The policy becomes good, bad and good again: up, down, up.
WAVE = [0.5, 0.5, 0.2, 0.0, -2.0, 0.0, 0.0, 0.0, 3.0, 0.5] + [0.0] * 20


def attempt(folder: Path, crashes: Crashes | None = None, **rules: Any) -> Attempt:
    given = {"window": 12, "promote_at": 0.3, "demote_below": 0.28, "min_collections": 1, "replay": 0.4}
    stages = [{"name": name} for name in NAMES]
    config = CurriculumConfig(name="test", stages=stages, **{**given, **rules})
    settings = {"num_updates": 20, "curriculum": config, "algo__goals_per_update": 4}
    return Attempt(folder, crashes, path=WAVE, goals=GOALS, **settings)


class Watch:
    """Notes whose goals are collected: in training (temperature 0.7) and in validation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained: list[list[str]] = []
        self.validated: list[list[str]] = []
        plain = StandInCollector.collect

        def collect(stand_in: Any, specs: list[EpisodeSpec], **how: Any) -> list[Trajectory]:
            noted = self.trained if how["temperature"] else self.validated
            noted.append([spec.goal.id for spec in specs])
            return plain(stand_in, specs, **how)

        monkeypatch.setattr(StandInCollector, "collect", collect)


def stages(ids: list[str]) -> list[str]:
    return sorted({name.partition("/")[0] for name in ids})


def test_goals_are_those_of_the_stage_and_of_earlier_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    attempt(tmp_path).run()
    # Logged after the collection: where training was before it is the value of the update before.
    at = [1, *(int(value) for value in metric(tmp_path, "curriculum/stage"))]
    assert {1, 2, 3} == set(at)
    for ids, stage in zip(watch.trained, at, strict=False):
        assert set(stages(ids)) <= set(NAMES[:stage])
    assert any(len(stages(ids)) > 1 for ids in watch.trained)


def test_the_goals_of_a_stage_come_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stages lie between: a pass over a stage's four goals has each of them once."""
    watch = Watch(monkeypatch)
    attempt(tmp_path).run()
    for name in NAMES:
        # Three episodes of a group stand side by side.
        drawn = [id for ids in watch.trained for id in ids[::3] if id.startswith(name)]
        passes = [drawn[i : i + 4] for i in range(0, len(drawn) - 3, 4)]
        assert passes
        assert all(len(set(four)) == 4 for four in passes)


def test_every_stage_reached_is_validated_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    run = attempt(tmp_path)
    run.run()
    reached = dict(_by_step(tmp_path, "curriculum/reached"))
    for update, ids in zip((0, 4, 8, 12, 16, 20), watch.validated, strict=True):
        assert stages(ids) == list(NAMES[: int(reached.get(update, 1))])
        assert len(ids) == 25 * len(stages(ids))
    assert run.trainer.stage_reached == "c"
    assert metric(tmp_path, "stage/a/forgetting")


def test_moves_are_announced_with_their_reason(tmp_path: Path) -> None:
    run = attempt(tmp_path)
    run.run()
    moves = [line for line in run.announced if "promoted" in line or "demoted" in line]
    assert len(moves) == metric(tmp_path, "curriculum/moves")[-1] >= 3
    assert "promoted from a to b: lower bound of its success" in moves[0]
    assert any("demoted from" in line for line in moves)
    assert any("validation success: a" in line and "(forgot " in line for line in run.announced)
    assert all("fallen" in line for line in run.said)  # it is sent back, so validation falls


def test_the_best_is_the_best_of_those_that_came_furthest(tmp_path: Path) -> None:
    """Success is highest before the last promotion; a checkpoint of the last stage is kept all the same."""
    run = attempt(tmp_path)
    best = run.run()
    reached = dict(_by_step(tmp_path, "curriculum/reached"))
    assert reached[best] == max(reached.values())
    assert run.trainer.progress.best[0] == 2


@pytest.mark.parametrize("kind", [Killed, Preempted])
def test_resumed_after_dying_anywhere_it_is_the_same_run(tmp_path: Path, kind: type[BaseException]) -> None:
    calm, crashes = tmp_path / "calm", Crashes(kind=kind)
    best = attempt(calm, crashes).run()
    for at in range(1, crashes.count + 1, 2):
        folder = tmp_path / str(at)
        with pytest.raises(kind):
            attempt(folder, Crashes(at, kind)).run()
        assert attempt(folder).run() == best
        assert history(folder) == history(calm), f"died at {at}"


def test_without_a_curriculum_nothing_is_logged_of_one(tmp_path: Path) -> None:
    run = Attempt(tmp_path)
    run.run()
    assert not [name for name, _ in history(tmp_path) if name.startswith(("curriculum/", "stage/"))]
    assert (run.trainer.stage_reached, run.announced) == ("", [])


def _by_step(folder: Path, name: str) -> list[tuple[int, float]]:
    return sorted((step, value) for (key, step), value in history(folder).items() if key == name)
