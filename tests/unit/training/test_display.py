"""What a run prints where there is no bar: what was measured last, and the time that is left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

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


def test_eighty_columns_keep_the_counter(clock: list[float]) -> None:
    screen = io.StringIO()
    with RunDisplay("run", 60) as display:
        display.__exit__(None, None, None)
    display.console = Console(file=screen, force_terminal=True, width=80, soft_wrap=True)
    with display:
        display.update(11, {"train/success": 0.66, "train/score": 0.66})
        clock[0] += 10
        display.update(12, {"train/success": 0.66, "train/score": 0.66, "val/success": 0.5, "val/score": 0.5})
    shown = Text.from_ansi(screen.getvalue().replace("\r", "\n")).plain.splitlines()
    last = [line for line in shown if "━" in line][-1]
    assert last.startswith("update 12/60")
    assert "8m00s left" in last
    assert "train success 0.66" in last
    assert len(last) <= 80
    assert "update 12/60  train success 0.66 score 0.66  val success 0.50 score 0.50  8m00s left" in shown


def test_what_is_measured_is_said(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    with RunDisplay("run", 60) as display:
        display.phase("measuring the untrained policy", "on 100 test episodes")
        clock[0] += 31
        display.playing(3, 100, 40)
        display.update(1, {"val/success": 0.25, "val/score": 0.5})
        clock[0] += 31
        display.playing(3, 32, 40)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "measuring the untrained policy on 100 test episodes"
    assert lines[1].endswith("measuring the untrained policy: 3/100 episodes ended")
    assert lines[3].endswith("playing: 40 turns, 3/32 episodes ended")
