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


@pytest.mark.parametrize("width", [80, 120])
def test_the_result_fits_its_terminal(width: int) -> None:
    means = {"success": 0.5, "score": 0.75, "episode_turns": 3.0}
    result = {
        "title": "shop5, apo_pg, tiny, lr 5e-06, seed 0: 9 test episodes, 5 goals (these are training goals)",
        "arms": {"test": means, "untrained": means},
        "trained_minus": {"untrained": {"mean": 0.5, "low": 0.4, "high": 0.6}},
    }
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(module.result_table(result, width=width))
    lines = console.export_text().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert " ".join(" ".join(lines[:2]).split()).startswith(result["title"])
    assert any("+0.500 [+0.400, +0.600]" in line and "0.750" in line for line in lines)
    assert any("│" in line for line in lines) == (width >= 100)
