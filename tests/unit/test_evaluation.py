"""Which episodes are evaluated, and what they sum to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.tracking.names import check
from webshop_rl.training.baselines import play_scripted
from webshop_rl.training.evaluation import (
    collection_metrics,
    effective_products,
    episode_record,
    evaluation_specs,
    summarise,
    summarise_evaluation,
    table_rows,
)
from webshop_rl.training.records import read_records, record_path, write_records

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


def test_fewer_goals_than_episodes_are_taken_in_turn() -> None:
    specs = evaluation_specs(GOALS[:3], 7, seed=1)
    order = [s.goal.id for s in specs[:3]]
    assert sorted(order) == ["g0", "g1", "g2"]
    assert [s.goal.id for s in specs] == [*order, *order, order[0]]
    assert [s.sample for s in specs] == [0, 0, 0, 1, 1, 1, 2]
    assert len({s.seed for s in specs}) == 7


def test_no_product_is_played_again_before_every_other_that_has_goals_left() -> None:
    """Products of 1, 2, 3 and 10 goals: rounds of 4, 3 and 2 products, then the large one alone."""
    sizes = {"a": 1, "b": 2, "c": 3, "d": 10}
    goals = [Goal(f"{asin}{i}", asin, "") for asin, size in sizes.items() for i in range(size)]
    for seed in range(5):
        products = [s.goal.asin for s in evaluation_specs(goals, 16, seed=seed)]
        assert [set(products[:4]), set(products[4:7]), set(products[7:9])] == [
            set("abcd"),
            set("bcd"),
            set("cd"),
        ]
        assert products[9:] == ["d"] * 7
        whole = [s.goal.id for s in evaluation_specs(goals, None, seed=seed)]
        assert sorted(whole) == sorted(goal.id for goal in goals)
        assert [s.goal.id for s in evaluation_specs(goals, 6, seed=seed)] == whole[:6]
    first = {evaluation_specs(goals, 1, seed=seed)[0].goal.id for seed in range(40)}
    assert {goal[0] for goal in first} == set("abcd")
    assert len(first) > 8  # which goal of a product comes first is drawn, too


def test_products_in_effect_by_hand() -> None:
    assert effective_products(["a", "b", "c", "d"]) == pytest.approx(4)
    # Shares 1/2, 1/4, 1/4: 1 / (1/4 + 1/16 + 1/16).
    assert effective_products(["a", "a", "b", "c"]) == pytest.approx(8 / 3)
    assert effective_products(["a"] * 9) == pytest.approx(1)


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


def test_more_goals_than_episodes_are_picked_and_always_the_same() -> None:
    for number in range(1, 11):
        assert len({s.goal.id for s in evaluation_specs(GOALS, number, seed=1)}) == number
    assert evaluation_specs(GOALS, 4, seed=1) == evaluation_specs(GOALS, 4, seed=1)
    assert evaluation_specs(GOALS, 4, seed=1) != evaluation_specs(GOALS, 4, seed=2)


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
    path = record_path(tmp_path, "baseline/rule")
    assert path.name == "baseline_rule.jsonl"
    assert read_records(path) is None
    written = write_records(path, TWO)
    assert read_records(path) == written
    line = json.loads(path.read_text().splitlines()[1])
    assert (line["goal"], line["end"], line["success"], line["return"]) == ("g1", "max_steps", False, 0.5)
    assert line["turns"][0] == {
        "page": "page", "reply": "click[1]", "action": "click[1]", "reward": 0.5, "valid": True,
        "parts": {"buy": 0.5},
    }  # fmt: skip
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_scripted_policies_play_the_same_episodes() -> None:
    shop = Shop5()
    specs = evaluation_specs(shop.goals("test"), 7, seed=3)
    played = play_scripted("first", shop, specs)
    assert [(t.goal, t.sample, t.seed) for t in played] == [(s.goal, s.sample, s.seed) for s in specs]
    assert all(t.success and t.episode_return == pytest.approx(1.6) and len(t.turns) == 3 for t in played)
    assert played[0].turns[0].page.endswith("Search")
    cut = play_scripted("random", Shop5(max_steps=1), [EpisodeSpec(shop.goals("test")[0], 0, 1)])
    assert (cut[0].end, len(cut[0].turns)) == (EndReason.MAX_STEPS, 1)
