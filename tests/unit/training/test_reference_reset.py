"""A reference policy that is reset every n updates: when, with which V*, and after any crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.shop5_parts import composed
from tests.support.training_attempts import (
    FALL,
    RISING,
    Attempt,
    metric,
    resumed_after_dying_anywhere,
    series,
)
from tests.support.training_stand_ins import Killed
from webshop_rl.errors import UserError
from webshop_rl.preemption import Preempted

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

RESET: dict[str, Any] = {"reference__reset_every": 4, "vstar": True, "path": RISING}
# Falls at update 6 and goes back to 4, the best, whose reference policy was that of update 3.
RESTORED: dict[str, Any] = {
    "reference__reset_every": 3,
    "evaluation__every": 2,
    "health__on_trouble": "restore_best",
    "vstar": True,
    "path": FALL,
}


def test_v_star_is_sampled_anew_from_each_reference_and_is_another(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, **RESET)
    attempt.run()
    values = series(tmp_path, "vstar/mean")
    assert len({values[update] for update in (1, 2, 3, 4)}) == 1  # the initial one, up to its reset at 4
    assert len({values[update] for update in (5, 6, 7, 8)}) == 1
    assert len({values[update] for update in (1, 5, 9)}) == 3
    # Two goals an update at eight samples each, all five goals by the third; from each reference anew.
    episodes = metric(tmp_path, "vstar/episodes")
    assert episodes[:5] == [16, 32, 40, 40, 56]
    assert episodes[8] == episodes[7] + 16
    assert metric(tmp_path, "system/vstar_episodes_played") == episodes
    assert attempt.trainer.progress.reference_update == 8


def test_without_it_the_reference_stays(tmp_path: Path) -> None:
    Attempt(tmp_path, **{**RESET, "reference__reset_every": None}).run()
    assert len(set(metric(tmp_path, "vstar/mean"))) == 1
    assert metric(tmp_path, "vstar/episodes")[-1] == 40


def test_the_reference_goes_back_with_the_policy(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, **{**RESTORED, "num_updates": 7, "reference__reset_every": 5})
    attempt.run()
    assert attempt.trainer.ending["restores"] == 1
    values = series(tmp_path, "vstar/mean")
    # Reset at 5; at 6 back to update 4, when the reference was the initial one.
    assert values[6] != values[5]
    assert values[7] == values[5]
    assert attempt.trainer.progress.reference_update == 0


@pytest.mark.parametrize("kind", [Killed, Preempted])
@pytest.mark.parametrize("settings", [RESET, RESTORED], ids=["reset", "restored"])
def test_resumed_after_dying_anywhere_it_is_the_same_run(
    tmp_path: Path, kind: type[BaseException], settings: dict[str, Any]
) -> None:
    for _, again, undisturbed in resumed_after_dying_anywhere(tmp_path, kind, every=3, **settings):
        assert undisturbed.reference is not None
        assert again.reference is not None
        assert again.reference.digest() == undisturbed.reference.digest()
        assert torch.equal(again.trainer._learner.network.weight, undisturbed.trainer._learner.network.weight)  # type: ignore[attr-defined]


def test_adapters_have_no_reference_to_reset() -> None:
    with pytest.raises(UserError, match=r"reference\.reset_every: the reference of adapters"):
        composed("model.lora.enabled=true", "reference.reset_every=5")
