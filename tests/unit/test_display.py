"""What a run prints where there is no bar: what was measured last, and the time that is left."""

from __future__ import annotations

import pytest

from webshop_rl.training import display as module
from webshop_rl.training.display import RunDisplay


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines_name_the_last_measurement_and_the_time_left(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with RunDisplay("run", 60) as display:
        display.update(10, {"val/success": 0.25, "val/score": 0.5})
        clock[0] += 20
        display.update(20, {"train/success": 0.1, "train/score": 0.3, "val/success": 0.5, "val/score": 0.6})
    first, second = capsys.readouterr().out.splitlines()
    assert first == "update 10/60  val success 0.25 score 0.50"
    # Ten updates took 20 s in this attempt; 40 are left.
    assert second == "update 20/60  train success 0.10 score 0.30  val success 0.50 score 0.60  1m20s left"


def test_a_long_collection_gives_a_sign_of_life_but_seldom(
    capsys: pytest.CaptureFixture[str], clock: list[float]
) -> None:
    with RunDisplay("run", 60) as display:
        for _ in range(70):
            clock[0] += 1
            display.playing(3, 32, 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["update 0/60  playing: 40 turns, 3/32 episodes ended"] * 2


def test_the_description_holds_each_arm_that_was_measured() -> None:
    means = {"success": 0.5, "score": 0.75, "episode_turns": 3.0}
    result = {
        "title": "shop5, apo_pg",
        "arms": {"test": means, "untrained": means | {"score": 0.25}, "baseline/rule": means},
        "trained_minus": {
            "untrained": {"mean": 0.5, "low": 0.4, "high": 0.6},
            "baseline/rule": {"mean": 0.0, "low": None, "high": None},
        },
    }
    assert module.result_markdown(result).splitlines()[4:] == [
        "trained policy (best on validation) | 0.500 | 0.750 | 3.0 | ",
        "untrained policy | 0.500 | 0.250 | 3.0 | +0.500 [+0.400, +0.600]",
        "rule | 0.500 | 0.750 | 3.0 | +0.000",
    ]
