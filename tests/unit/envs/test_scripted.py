"""Scripted policies: what they do on pages of any shop, and whole episodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from webshop_rl.envs.backtrack import BacktrackPolicy
from webshop_rl.envs.demonstrators import scripted_act
from webshop_rl.envs.scripted import POLICIES, FirstPolicy, RandomPolicy, RulePolicy, run_episode
from webshop_rl.envs.types import EndReason, Goal, Page, ResultLine
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
        said = []
        for page in (SEARCH, RESULTS, ITEM, ITEM, ITEM):
            said.append(policy.act(GOAL, page))
            policy.took(page, said[-1])
        assert said == [
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


def _item(*options: str, name: str = "size") -> Page:
    groups = {name: options} if options else {}
    return Page("", "", False, ("< prev", "buy now", *options), (), options, "item", option_groups=groups)


def _played(goal: Goal, *pages: Page) -> list[str]:
    policy = BacktrackPolicy()
    policy.reset(goal, 0)
    actions = []
    for page in pages:
        actions.append(policy.act(goal, page))
        policy.took(page, actions[-1])
    return actions


NAMED = Goal(
    "g/1",
    "A",
    "Find me dress shoes with arch support with color: navy, and size: 8, and price lower than 40.00 dollars",
)
PRICED = Page(
    *("", "", False, ("p1", "p2", "p3"), ("p1", "p2", "p3"), (), "results"),
    results=(
        ResultLine("p1", "shoes", "$40.0"),  # the limit is exclusive
        ResultLine("p2", "shoes", "$39.99 to $80.0"),
        ResultLine("p3", "shoes", "$10.0"),
    ),
)


def test_backtrack_leaves_a_product_that_lacks_what_is_asked_for() -> None:
    groups = {"size": ("8", "9"), "color": ("blue", "navy", "dress")}  # the instruction asks for no "dress"
    fits = replace(_item("8", "9"), options=(*groups["size"], *groups["color"]), option_groups=groups)
    assert _played(NAMED, SEARCH, PRICED, _item("8", "9"), PRICED, fits, fits, fits) == [
        "search[me dress shoes with arch support with color: navy, and size: 8]",
        "click[p2]",
        "click[< prev]",
        "click[p3]",
        "click[8]",
        "click[navy]",
        "click[buy now]",
    ]


def test_backtrack_leaves_a_product_with_an_option_that_the_instruction_says_nothing_of() -> None:
    wish = Goal("g/2", "A", "Find me oil free soap for dry skin, and price lower than 40.00 dollars")
    assert _played(wish, SEARCH, PRICED, _item("rose", "mint"), PRICED, _item()) == [
        "search[Find me oil free soap for dry skin]",
        *("click[p2]", "click[< prev]", "click[p3]", "click[buy now]"),
    ]
    # What rule would click counts as asked for, where no option is named.
    assert _played(wish, SEARCH, PRICED, _item("dry skin", "all skin"))[-1] == "click[dry skin]"


def test_backtrack_settles_for_the_product_that_lacks_least() -> None:
    size_only, nothing = _item("8", "9"), _item("rose")
    after_the_last_result = _played(
        NAMED, SEARCH, PRICED, nothing, PRICED, size_only, PRICED, size_only, size_only
    )
    assert after_the_last_result[-5:] == [
        *("click[p3]", "click[< prev]", "click[p3]", "click[8]", "click[buy now]")
    ]
    targets = tuple(f"p{n}" for n in range(9))
    many = replace(PRICED, products=targets, results=tuple(ResultLine(p, "", "$1.0") for p in targets))
    looks = [size_only if n == 2 else nothing for n in range(BacktrackPolicy.LOOKS)]
    played = _played(NAMED, SEARCH, *(page for look in looks for page in (many, look)), many, size_only)
    assert played[-4:] == ["click[p4]", "click[< prev]", "click[p2]", "click[8]"]
    # Nothing better was seen before: the last is bought where it is.
    played = _played(NAMED, SEARCH, *(page for _ in looks for page in (many, size_only)), size_only)
    assert played[-3:] == ["click[p4]", "click[8]", "click[buy now]"]


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


def test_a_scripted_policy_goes_on_from_what_others_did() -> None:
    """As a teacher it labels pages that a student reached in its own way."""
    act = scripted_act("backtrack")
    fits = replace(
        _item("8", "9"), options=("8", "9", "navy"), option_groups={"size": ("8",), "color": ("navy",)}
    )
    poor = _item("9")
    other = [
        "search[shoes]",
        "click[p3]",
        "click[< prev]",
    ]  # not the query nor the result that it would choose
    assert act(NAMED, [SEARCH, PRICED, poor], other[:2]) == "click[< prev]"
    assert act(NAMED, [SEARCH, PRICED, poor, PRICED], other) == "click[p2]"
    chosen = [SEARCH, PRICED, fits, fits]
    assert act(NAMED, chosen[:3], ["search[shoes]", "click[p3]"]) == "click[8]"
    assert act(NAMED, chosen, ["search[shoes]", "click[p3]", "click[navy]"]) == "click[8]"
    assert act(NAMED, chosen, ["search[shoes]", "click[p3]", "click[8]"]) == "click[navy]"
    assert act(NAMED, chosen, ["search[shoes]", "click[p3]", ""]) == "click[8]"  # nothing was understood
    features = Page("", "", False, ("back to search", "< prev"), kind="features")
    assert (
        act(NAMED, [*chosen[:3], features], ["search[shoes]", "click[p3]", "click[features]"])
        == "click[< prev]"
    )
    rule = scripted_act("rule")
    assert (
        rule(GOAL, [SEARCH, RESULTS, ITEM, ITEM], ["search[shoes]", "click[p2]", "click[navy]"]) == "click[8]"
    )
    again = ["search[shoes]", "click[p2]", "click[8]", "click[< prev]", "click[p1]"]
    assert rule(GOAL, [SEARCH, RESULTS, ITEM, ITEM, RESULTS, ITEM], again) == "click[8]"
