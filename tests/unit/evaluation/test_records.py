"""Recorded episodes: their format and what they sum to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.evaluation.records import (
    episode_record,
    rank,
    read_records,
    summarise,
    summarise_evaluation,
    table_rows,
    worth_reading,
    write_records,
)
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.names import check
from webshop_rl.training.collection import collection_metrics

GOALS = [Goal(f"g{i}", f"asin{i}", f"wish {i}") for i in range(10)]


def played(goal: int, rewards: list[float], *, score: float, end: EndReason = EndReason.BOUGHT) -> Trajectory:
    turns = [Turn("page", "click[1]", "click[1]", r, r >= 0, {"buy": r}) for r in rewards]
    segment = Segment()
    segment.append_context([1])
    for turn in range(len(turns)):
        for token in range(4):
            segment.append_action(1, 0.0, turn, None, decision=token > 0)
    return Trajectory(GOALS[goal], 0, 5, [segment], turns, score, end, num_replies_cut=goal)


TWO = [
    played(0, [0.25, 1.0], score=1.0),
    played(1, [0.5, -0.1, 0.0, 0.1], score=0.5, end=EndReason.MAX_STEPS),
]


def test_an_evaluation_has_means_over_products_beside_those_over_episodes() -> None:
    """Product asin0 succeeds in 1 of 1, asin1 in none of 3."""
    episodes = [TWO[0], TWO[1], TWO[1], TWO[1]]
    means = summarise_evaluation([episode_record(t) for t in episodes])
    check(f"test/{name}" for name in means)
    assert means["success"] == pytest.approx(1 / 4)
    assert means["success_by_product"] == pytest.approx(1 / 2)
    assert means["score"] == pytest.approx((1 + 3 * 0.5) / 4)
    assert means["score_by_product"] == pytest.approx(0.75)
    assert means["effective_products"] == pytest.approx(1 / (1 / 16 + 9 / 16))


def test_a_product_of_many_goals_does_not_choose_the_checkpoint() -> None:
    """asin1 has nine goals: who solves them alone is below who solves the two others."""
    many = [replace(played(1, [1.0], score=1.0), sample=n) for n in range(9)]
    others = [played(0, [1.0], score=1.0), played(2, [1.0], score=1.0)]
    lost = [replace(t, score=0.0) for t in (*many, *others)]
    means = [
        summarise_evaluation([episode_record(t) for t in episodes])
        for episodes in ((*many, *lost[9:]), (*lost[:9], *others))
    ]
    assert means[0]["success"] > means[1]["success"]
    assert rank(means[0]) < rank(means[1])
    half = [replace(t, score=0.5) for t in others]  # score decides where successes are equal
    better = summarise_evaluation([episode_record(t) for t in (*many, *half)])
    assert rank(better)[0] == rank(means[0])[0]
    assert rank(better) > rank(means[0])


def test_means_by_hand() -> None:
    means = summarise([episode_record(t) for t in TWO])
    assert means == pytest.approx(
        {
            "success": 0.5,
            "score": 0.75,
            "return_mean": (1.25 + 0.5) / 2,
            "episode_turns": 3.0,
            "invalid_frac": 1 / 6,  # one of the six turns
            "truncated_frac": 0.5,
        }
    )


def test_collection_metrics_by_hand_have_names_of_the_glossary() -> None:
    metrics = collection_metrics(TWO)
    check(metrics)
    assert metrics["train/return_std"] == pytest.approx(0.375)  # (1.25 - .5) / 2
    assert metrics["train/reply_tokens"] == 4.0  # 24 tokens in 6 turns
    assert metrics["train/reply_decisions"] == 3.0  # the first token of each turn is forced
    assert metrics["train/reply_cut_frac"] == pytest.approx(1 / 6)


def test_an_episode_without_turns_counts_as_failed() -> None:
    empty = Trajectory(GOALS[0], 0, 0, end=EndReason.CONTEXT)
    means = summarise([episode_record(empty)])
    assert (means["success"], means["truncated_frac"], means["invalid_frac"]) == (0.0, 1.0, 0.0)


def test_one_row_a_goal() -> None:
    rows = table_rows([episode_record(t) for t in (*TWO, played(0, [0.0], score=0.0))])
    assert [(r["goal"], r["episodes"], r["success"], r["score"], r["turns"]) for r in rows] == [
        ("g0", 2, 0.5, 0.5, 1.5),
        ("g1", 1, 0.0, 0.5, 4.0),
    ]
    assert (rows[1]["truncated"], rows[1]["asin"], rows[1]["instruction"]) == (1.0, "asin1", "wish 1")
    assert rows[0]["return"] == pytest.approx(0.625)


def test_records_are_lines_of_json_and_come_back_the_same(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).episodes("baseline/rule")
    assert path.name == "baseline_rule.jsonl"
    assert read_records(path) is None
    written = write_records(path, TWO)
    assert read_records(path) == written
    line = json.loads(path.read_text().splitlines()[1])
    assert (line["goal"], line["end"], line["success"], line["return"]) == ("g1", "max_steps", False, 0.5)
    assert line["turns"][0] == {
        "page": "page", "reply": "click[1]", "action": "click[1]", "reward": 0.5, "valid": True,
        "parts": {"buy": 0.5}, "kind": "other", "page_kind": "", "asins": [], "chosen": {},
    }  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def _bought(goal: str, asin: str, *, listed: bool, score: float = 0.0) -> dict[str, Any]:
    """An episode that buys a product after a page of results with or without the right one."""
    lists = {"page_kind": "results", "asins": ["right"] if listed else [], "parts": {"search": 0.25}}
    buys = {"page_kind": "item", "asins": [asin], "parts": {"r_type": 0.5, "w_att": 0.2, "r_att": True}}
    turns = [{"action": "click[1]", "valid": True, "chosen": {}, **turn} for turn in (lists, buys)]
    record = {"goal": goal, "asin": "right", "bought": asin, "end": "bought", "instruction": "i want"}
    return {**record, "score": score, "success": score == 1, "turns": turns}


def test_failures_are_read_first_and_one_of_each_reason_before_a_second_of_any() -> None:
    played = [
        _bought("won", "right", listed=True, score=1.0),
        _bought("missed", "other", listed=True),
        _bought("missed too", "other", listed=True),
        _bought("never listed", "other", listed=False),
    ]
    ordered = worth_reading(played)
    assert [record["goal"] for record in ordered] == ["missed", "never listed", "missed too", "won"]
    # Of a score the factors are shown, not their weights, and not what shaping paid.
    assert ordered[0]["feedback"] == {
        "score": 0.0,
        "success": False,
        "reason": "wrong product, right one listed",
        "r_type": 0.5,
        "r_att": 1.0,
    }
    assert "reason" not in ordered[3]["feedback"]


def test_where_the_score_has_no_factors_the_parts_of_the_reward_are_summed() -> None:
    episode = episode_record(played(0, [0.25, 0.5], score=1.0))
    (record,) = worth_reading([episode])
    assert record["feedback"] == {"score": 1.0, "success": True, "buy": 0.75}
