"""Episodes and results as a person reads them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from webshop_rl.evaluation.tables import remarks, result_markdown, result_table
from webshop_rl.evaluation.transcript import transcript

TURN: dict[str, Any] = {
    "page": "Back to Search [SEP] Results: 1 [SEP] 1 red shoes $45",
    "reply": "<think> shoes are fine </think>I will click on 1",
    "action": "click[1]",
    "reward": 0.3,
    "valid": True,
    "parts": {"click": 0.3},
}
EPISODE: dict[str, Any] = {
    "goal": "shop5/1",
    "asin": "1",
    "instruction": "i want to buy red shoes",
    "score": 0.0,
    "return": 0.3,
    "success": False,
    "end": "max_steps",
    "turns": [TURN, TURN | {"reply": "hm", "action": "", "reward": 0.0, "valid": False, "parts": {}}],
}


def test_an_episode_is_read_page_by_page() -> None:
    lines = [line for line in transcript([EPISODE, EPISODE], 1) if line]
    assert lines[0].startswith("── episode 1 of 2: shop5/1, product 1 ─")
    assert lines[1:] == [
        "wanted: i want to buy red shoes",
        "turn 1",
        "  │ Back to Search",
        "  │ Results: 1",
        "  │ 1 red shoes $45",
        "  thinks: shoes are fine",
        "  replies: I will click on 1",
        "  → click[1]",
        "    reward +0.30 (click 0.30)",
        "turn 2",
        "  │ Back to Search",
        "  │ Results: 1",
        "  │ 1 red shoes $45",
        "  replies: hm",
        "  → no action   (not valid: nothing happens)",
        "end: max_steps, score 0.00, return 0.30, 2 turns",
    ]


def test_a_reply_that_is_the_action_is_shown_once() -> None:
    turn = TURN | {"reply": "click[1]", "reward": 0.0, "parts": {}}
    lines = list(transcript([EPISODE | {"turns": [turn], "success": True, "end": "bought"}], 5))
    assert "  → click[1]" in lines
    assert not any("replies" in line or "reward" in line for line in lines)
    assert any(line.startswith("SUCCESS: bought") for line in lines)


MANY = {"value": 0.5, "low": 0.25, "high": 0.75, "num": 4}
ONE = {"value": 0.5, "low": None, "high": None, "num": 1}  # one product
RESULT: dict[str, Any] = {
    "title": "a run: shop5, test goals (these are training goals), 9 episodes, 5 goals of 5 products",
    "main": "test",
    "labels": {"test": "trained policy", "baseline/rule": "rule"},
    "policies": {name: {"episode_turns": 3.0, "invalid_frac": 0.0} for name in ("test", "baseline/rule")},
    "intervals": {
        "test": {"success": MANY, "score": MANY},
        "baseline/rule": {"success": ONE, "score": ONE},
    },
    "main_minus": {"baseline/rule": MANY},
}


def test_the_table_has_an_interval_where_there_is_more_than_one_product() -> None:
    console = Console(width=150, record=True, file=io.StringIO())
    console.print(result_table(RESULT, width=150))
    text = console.export_text().splitlines()
    ours = next(line for line in text if "trained policy" in line)
    rule = next(line for line in text if "rule" in line)
    assert ours.count("0.500 [0.250, 0.750]") == 2
    assert rule.count("[") == 1
    assert "+0.500 [+0.250, +0.750]" in rule
    assert "3.0" in rule


@pytest.mark.parametrize("width", [80, 119, 120])
def test_the_table_fits_its_terminal(width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(result_table(RESULT, width=width))
    lines = console.export_text().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines)
    assert " ".join(" ".join(lines[:2]).split()).startswith(RESULT["title"])
    (row,) = (line for line in lines if "trained policy" in line)
    assert row.count("0.50 [0.25, 0.75]" if width < 120 else "0.500 [0.250, 0.750]") == 2
    assert any("│" in line for line in lines) == (width >= 120)


def test_the_description_in_mlflow_is_the_same_table() -> None:
    assert result_markdown(RESULT).splitlines() == [
        RESULT["title"],
        "",
        "policy | success [95 %] | score [95 %] | turns | invalid | score difference [95 %]",
        "--- | --- | --- | --- | --- | ---",
        "trained policy | 0.500 [0.250, 0.750] | 0.500 [0.250, 0.750] | 3.0 | 0.00 | ",
        "rule | 0.500 | 0.500 | 3.0 | 0.00 | +0.500 [+0.250, +0.750]",
    ]


def test_few_products_in_effect_and_low_rates_are_pointed_out() -> None:
    def said(effective: float, success: float) -> list[str]:
        main = {"effective_products": effective, "success": success}
        by_product = {"success_by_product": 0.25, "score_by_product": 0.625}
        first, *others = remarks({"main": "test", "policies": {"test": main | by_product}})
        assert first == "success 0.250, score 0.625 where every product weighs alike"
        return others

    assert said(20.0, 0.1) == []
    assert said(12.4, 0.5) == ["caution: 12.4 products in effect: intervals over so few are rough"]
    assert said(80.6, 0.02) == ["caution: success below 0.1: its interval is narrower than it should be"]
