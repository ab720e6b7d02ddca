"""Scripted policies: what they do on pages of any shop, and whole episodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from webshop_rl.envs.scripted import POLICIES, FirstPolicy, RandomPolicy, RulePolicy, run_episode
from webshop_rl.envs.types import EndReason, Goal, Page
from webshop_rl.envs.webshop.shop import WebShop

GOAL = Goal("g/0", "A", "Find me Navy shoes in size 8")
SEARCH = Page("", "", can_search=True, clickables=(), kind="search")
RESULTS = Page("", "", False, ("back to search", "next >", "p1", "p2"), products=("p1", "p2"), kind="results")
ITEM = Page("", "", False, ("< prev", "buy now", "8", "9", "navy"), options=("8", "9", "navy"), kind="item")


@pytest.fixture(scope="module")
def shop(mini_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(mini_data_dir), num_products=None, split="none")


def test_first() -> None:
    policy = FirstPolicy()
    policy.reset(GOAL, 0)
    assert policy.act(GOAL, SEARCH) == "search[Find me Navy shoes in size 8]"
    assert policy.act(GOAL, RESULTS) == "click[p1]"
    assert policy.act(GOAL, ITEM) == "click[buy now]"


def test_rule_clicks_each_option_that_stands_in_the_instruction() -> None:
    policy = RulePolicy()
    for _ in range(2):  # a second episode starts afresh
        policy.reset(GOAL, 0)
        assert [policy.act(GOAL, page) for page in (SEARCH, RESULTS, ITEM, ITEM, ITEM)] == [
            "search[Find me Navy shoes in size 8]",
            "click[p1]",
            "click[8]",
            "click[navy]",
            "click[buy now]",
        ]


def test_random_is_seeded_and_admissible() -> None:
    policy = RandomPolicy()

    def draws(seed: int) -> list[str]:
        policy.reset(GOAL, seed)
        return [policy.act(GOAL, ITEM) for _ in range(500)]

    assert draws(1) == draws(1) != draws(2)
    counts = Counter(draws(3))
    assert set(counts) == {f"click[{target}]" for target in ITEM.clickables}
    assert min(counts.values()) > 50  # uniform: 100 each expected
    assert policy.act(GOAL, SEARCH) == f"search[{GOAL.instruction}]"


@pytest.mark.parametrize("name", POLICIES)
def test_episodes(name: str, shop: WebShop) -> None:
    for goal in shop.goals("all"):
        record = run_episode(shop.session(), POLICIES[name](), goal, seed=3)
        again = run_episode(shop.session(), POLICIES[name](), goal, seed=3)
        assert record == again
        assert len(record.pages) == len(record.actions) + 1 == len(record.steps) + 1
        assert all(step.applied for step in record.steps)
        assert (record.end is EndReason.BOUGHT) == record.steps[-1].terminated
        assert record.success == (record.score == 1.0)
        assert record.total_reward == record.score


def test_rule_buys_the_shoes_asked_for(shop: WebShop) -> None:
    goal = next(g for g in shop.goals("all") if "color: red" in g.instruction and "size: 8" in g.instruction)
    record = run_episode(shop.session(), RulePolicy(), goal, seed=0)
    assert record.actions[-3:-1] == ["click[8]", "click[red]"]
    assert record.end is EndReason.BOUGHT
