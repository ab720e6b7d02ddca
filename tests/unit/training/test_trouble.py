"""What becomes of a run when a health check fails that it is to act on; a crash changes nothing of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.training_attempts import (
    FALL,
    Attempt,
    history,
    kept,
    resumed_after_dying_anywhere,
    run_config,
    updates,
)
from tests.support.training_stand_ins import Crashes, Killed
from webshop_rl.preemption import Preempted
from webshop_rl.training.checkpoint import find_checkpoints

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

FALLING: dict[str, Any] = {"path": FALL, "evaluation__every": 2, "num_updates": 12}
# Nothing is learnt, so the check fails at updates; a validation is due at the same moment.
STUCK: dict[str, Any] = {
    "path": [0.0] * 40,
    "health__trouble": ["no_success"],
    "health__window": 3,
    "evaluation__every": 3,
}


def flagged(folder: Path, name: str) -> list[int]:
    return [step for metric, step in history(folder) if metric == f"health/{name}"]


def test_a_fall_is_only_warned_of_unless_more_is_asked_for(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, **FALLING)
    attempt.run()
    assert updates(tmp_path) == list(range(1, 13))
    assert flagged(tmp_path, "fallen") == [6, 8, 10, 12]
    assert len([line for line in attempt.said if "fallen" in line]) == 1
    assert attempt.trainer.ending["stopped"] == ""
    assert attempt.trainer.ending["restores"] == 0
    assert str(attempt.trainer.ending["fallen"]).startswith("validation success 0.")


def test_a_run_ends_at_trouble_and_its_best_is_its_result(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, health__on_trouble="stop", **FALLING)
    assert attempt.run() == 4
    assert updates(tmp_path) == list(range(1, 7))
    assert kept(tmp_path)[-1] == 6
    assert attempt.trainer.ending["stopped"] == "stopped at update 6: fallen"
    assert attempt.trainer.ending["fallen"]
    # Begun again it is as it was.
    again = Attempt(tmp_path, health__on_trouble="stop", **FALLING)
    assert again.run() == 4
    assert again.trainer.ending == attempt.trainer.ending
    assert updates(tmp_path) == list(range(1, 7))


def test_a_run_that_stops_between_validations_is_validated_first(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, health__on_trouble="stop", **{**STUCK, "evaluation__every": 5})
    attempt.run()
    assert attempt.trainer.ending["stopped"] == "stopped at update 3: no_success"
    assert [step for name, step in history(tmp_path) if name == "val/success"] == [0, 3]


def test_a_run_goes_on_from_its_best_weights_and_optimiser_state(tmp_path: Path) -> None:
    def state_of(learner: Any) -> tuple[float, float]:
        momentum = learner.optimiser.state_dict()["state"][0]["momentum_buffer"]
        return learner.network.weight.item(), momentum.item()

    attempt = Attempt(tmp_path, health__on_trouble="restore_best", **FALLING)
    learner = attempt.trainer._learner
    learn = learner.learn
    saved: list[tuple[float, float]] = []
    began: dict[int, tuple[float, float]] = {}

    def spied(trajectories: Any, vstar: Any, update: int) -> Any:
        began[update] = state_of(learner) if update else (0.0, 0.0)
        if update == 4:
            (best,) = [c for c in find_checkpoints(tmp_path / "checkpoints") if c.update == 4]
            fresh: Any = Attempt(tmp_path / "other", **FALLING).trainer._learner
            best.load(fresh.network, fresh.optimiser)
            saved.append(state_of(fresh))
        return learn(trajectories, vstar, update)

    learner.learn = spied  # type: ignore[method-assign]
    attempt.run()
    assert flagged(tmp_path, "restored")[0] == 6
    assert began[6] == saved[0]
    assert began[5] != began[6]
    assert attempt.trainer.ending["restores"] == len(flagged(tmp_path, "restored"))
    assert updates(tmp_path) == list(range(1, 13))  # the count goes on: every collection is a new one


def test_after_a_restore_the_checks_look_at_what_comes_after(tmp_path: Path) -> None:
    Attempt(tmp_path, health__on_trouble="restore_best", **STUCK).run()
    assert flagged(tmp_path, "restored") == [3, 6, 9]
    state = json.loads((find_checkpoints(tmp_path / "checkpoints")[-1].path / "state.json").read_text())
    assert len(state["health"]) == 1


def test_the_best_policy_itself_is_not_restored(tmp_path: Path) -> None:
    rising: dict[str, Any] = {"evaluation__every": 3, "health__trouble": ["no_success"], "health__window": 2}
    attempt = Attempt(tmp_path, path=[0.0] * 3 + [0.1] * 40, health__on_trouble="restore_best", **rising)
    attempt.run()
    assert 2 in flagged(tmp_path, "no_success")
    assert flagged(tmp_path, "restored")
    assert attempt.trainer.progress.best_update > 4


@pytest.mark.parametrize(
    ("kind", "on_trouble", "per_collection", "settings"),
    [
        (Killed, "restore_best", 1, FALLING),
        (Preempted, "restore_best", 1, FALLING),
        (Killed, "restore_best", 2, STUCK),
        (Preempted, "restore_best", 1, STUCK),
        (Killed, "stop", 1, FALLING),
        (Preempted, "stop", 1, STUCK),
    ],
)
def test_resumed_after_dying_anywhere_it_is_the_same_run(
    tmp_path: Path, kind: type[BaseException], on_trouble: str, per_collection: int, settings: dict[str, Any]
) -> None:
    options = {"health__on_trouble": on_trouble, "per_collection": per_collection, **settings}
    for _, again, undisturbed in resumed_after_dying_anywhere(tmp_path, kind, **options):
        assert undisturbed.trainer.ending["stopped" if on_trouble == "stop" else "restores"]
        assert again.trainer.ending == undisturbed.trainer.ending
        weights = [attempt.trainer._learner.network.weight for attempt in (again, undisturbed)]  # type: ignore
        assert torch.equal(*weights)


def test_dying_again_and_again(tmp_path: Path) -> None:
    options = {"health__on_trouble": "restore_best", **FALLING}
    Attempt(tmp_path / "calm", **options).run()
    folder, crashes = tmp_path / "often", 0
    for _ in range(60):
        try:
            Attempt(folder, Crashes(22), **options).run()
            break
        except Killed:
            crashes += 1
    assert crashes > 1
    assert history(folder) == history(tmp_path / "calm")


def test_only_the_checks_that_are_trouble_are_acted_on(tmp_path: Path) -> None:
    assert "no_success" not in run_config().health.trouble
    attempt = Attempt(tmp_path, path=[0.0] * 40, health__on_trouble="stop", num_updates=14)
    attempt.run()
    assert flagged(tmp_path, "no_success")
    assert attempt.trainer.ending["stopped"] == ""
