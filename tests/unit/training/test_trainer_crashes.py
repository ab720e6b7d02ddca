"""Any crash of the loop is recovered from: the resumed run is the same run."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.training_attempts import (
    HUMP,
    NUM_UPDATES,
    RISING,
    Attempt,
    history,
    kept,
    resumed_after_dying_anywhere,
    updates,
)
from tests.support.training_stand_ins import Crashes, Killed
from webshop_rl.preemption import Preempted
from webshop_rl.training import checkpoint as checkpoint_module
from webshop_rl.training.checkpoint import find_checkpoints

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.mark.parametrize("per_collection", [1, 4])
def test_a_kill_costs_no_more_than_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_collection: int
) -> None:
    """Between two checkpoints lie checkpoint.every updates at most, several a collection included."""
    saved: list[int] = []
    plain = checkpoint_module.write_checkpoint
    monkeypatch.setattr(
        "webshop_rl.training.keeper.write_checkpoint",
        lambda folder, update, *rest: (saved.append(update), plain(folder, update, *rest))[1],
    )
    settings = {"num_updates": 40, "evaluation__every": 100, "checkpoint__every": 10}
    Attempt(tmp_path, per_collection=per_collection, **settings).run()
    assert max(b - a for a, b in itertools.pairwise(saved)) <= 10
    assert len(saved) <= 7


@pytest.mark.parametrize("kind", [Killed, Preempted])
@pytest.mark.parametrize("path", [RISING, HUMP], ids=["rising", "hump"])
def test_resumed_after_dying_anywhere_it_is_the_same_run(
    tmp_path: Path, kind: type[BaseException], path: list[float]
) -> None:
    for folder, _, undisturbed in resumed_after_dying_anywhere(tmp_path, kind, path=path):
        assert kept(folder)[-1] == NUM_UPDATES
        assert undisturbed.trainer.progress.best_update in kept(folder)
        assert sorted(set(updates(folder))) == list(range(1, NUM_UPDATES + 1))
        assert len(updates(folder)) <= NUM_UPDATES + 3  # one kill times checkpoint.every
        if kind is Preempted:  # saved where it stood
            assert updates(folder) == list(range(1, NUM_UPDATES + 1))


def test_dying_again_and_again(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder, crashes = tmp_path / "often", 0
    for _ in range(60):
        try:
            Attempt(folder, Crashes(17)).run()
            break
        except Killed:
            crashes += 1
    assert crashes > 2
    assert history(folder) == history(calm)
    assert len(updates(folder)) <= NUM_UPDATES + 3 * crashes


@pytest.mark.parametrize("moment", range(1, 20))
def test_dying_inside_a_checkpoint_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder, crashes, plain = tmp_path / "torn", Crashes(moment), checkpoint_module.sync
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "sync", lambda path: (crashes.may_come(), plain(path)))
        with pytest.raises(Killed):
            Attempt(folder).run()
    Attempt(folder).run()
    assert history(folder) == history(calm)
    assert not list((folder / "checkpoints").glob(".partial*"))


def test_a_torn_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder = tmp_path / "torn"
    with pytest.raises(Killed):
        Attempt(folder, Crashes(30)).run()
    *others, last = find_checkpoints(folder / "checkpoints")
    (last.path / "weights.safetensors").write_bytes(b"torn")
    again = Attempt(folder)
    assert again.run() == 10
    whence = others[-1].path.name
    assert again.said == [f"damaged checkpoint, left out: {last.path.name}; going on from {whence}"]
    assert not again.tracker.journal.mismatches
    assert history(folder) == history(calm)


def test_without_any_whole_checkpoint_it_says_that_it_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Attempt(tmp_path, Crashes(30)).run()
    for checkpoint in find_checkpoints(tmp_path / "checkpoints"):
        (checkpoint.path / "state.json").write_text("")
    again = Attempt(tmp_path)
    again.run()
    assert len(again.said) == 1
    assert again.said[0].endswith("going on at update 0: no other is whole")


def test_health_checks_look_back_beyond_a_death(tmp_path: Path) -> None:
    flat: dict[str, Any] = {"path": [0.0] * 40, "num_updates": 14}
    Attempt(tmp_path / "calm", **flat).run()
    with pytest.raises(Killed):
        Attempt(tmp_path / "killed", Crashes(50), **flat).run()
    assert 8 < updates(tmp_path / "killed")[-1] < 14
    Attempt(tmp_path / "killed", **flat).run()
    assert history(tmp_path / "killed") == history(tmp_path / "calm")


def test_skipped_steps_are_counted_on_after_a_resume(tmp_path: Path) -> None:
    """A checkpoint of before skipped_in_a_row was kept counts it from 0."""
    with pytest.raises(Killed):
        Attempt(tmp_path, Crashes(30)).run()
    *_, last = find_checkpoints(tmp_path / "checkpoints")
    state = last.state() | {"num_skipped": 5, "skipped_in_a_row": 2}
    older = {k: v for k, v in state.items() if k != "skipped_in_a_row"}
    for kept_state, in_a_row in ((state, 2), (older, 0)):
        (last.path / "state.json").write_text(json.dumps(kept_state))
        digests = json.loads((last.path / "COMPLETE").read_text())
        digests["state.json"] = checkpoint_module._digest(last.path / "state.json")
        (last.path / "COMPLETE").write_text(json.dumps(digests))
        again = Attempt(tmp_path)
        assert again.trainer.resume()
        learner = again.trainer._learner
        assert (learner.num_skipped, learner.skipped_in_a_row) == (5, in_a_row)
