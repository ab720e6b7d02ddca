"""Episodes and results as a person reads them."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from webshop_rl.evaluate.show import episodes, remarks, table

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
    lines = [line for line in episodes([EPISODE, EPISODE], 1) if line]
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
    lines = list(episodes([EPISODE | {"turns": [turn], "success": True, "end": "bought"}], 5))
    assert "  → click[1]" in lines
    assert not any("replies" in line or "reward" in line for line in lines)
    assert any(line.startswith("SUCCESS: bought") for line in lines)


def test_the_table_has_an_interval_where_there_is_more_than_one_product() -> None:
    several = {"mean": 0.5, "low": 0.25, "high": 0.75, "num_episodes": 8, "num_products": 4}
    one = several | {"low": None, "high": None, "num_products": 1}
    result = {
        "title": "t",
        "main": "test",
        "label": "a run",
        "arms": {arm: {"episode_turns": 3.0, "invalid_frac": 0.0} for arm in ("test", "baseline/rule")},
        "intervals": {
            "test": {"success": several, "score": several},
            "baseline/rule": {"success": one, "score": one},
        },
        "main_minus": {"baseline/rule": several},
    }
    console = Console(width=150, record=True)
    console.print(table(result))
    text = console.export_text().splitlines()
    ours = next(line for line in text if "a run" in line)
    rule = next(line for line in text if "rule" in line)
    assert ours.count("0.500 [0.250, 0.750]") == 2
    assert rule.count("[") == 1
    assert "+0.500 [+0.250, +0.750]" in rule
    narrow = Console(width=80, record=True)
    narrow.print(table(result | {"label": "4f8e23abc04d at update 123456, a name too long"}, width=80))
    lines = narrow.export_text().splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines)
    (row,) = (line for line in lines if "4f8e23abc04d" in line)
    assert row.count("0.50 [0.25, 0.75]") == 2
    assert any("+0.50 [+0.25, +0.75]" in line and line.startswith(" rule") for line in lines)


def test_few_products_in_effect_and_low_rates_are_pointed_out() -> None:
    def said(effective: float, success: float) -> list[str]:
        main = {"effective_products": effective, "success": success}
        by_product = {"success_by_product": 0.25, "score_by_product": 0.625}
        first, *others = remarks({"main": "test", "arms": {"test": main | by_product}})
        assert first == "success 0.250, score 0.625 where every product weighs alike"
        return others

    assert said(20.0, 0.1) == []
    assert said(12.4, 0.5) == ["caution: 12.4 products in effect: intervals over so few are rough"]
    assert said(80.6, 0.02) == ["caution: success below 0.1: its interval is narrower than it should be"]
