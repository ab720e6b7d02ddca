"""The five-product shop, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.shop5.catalogue import PRODUCTS, make_goals, search
from webshop_rl.envs.shop5.session import Shop5Session
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import Page, ResultLine, Step
from webshop_rl.errors import UserError


def at_start(goal: int = 0, *, seed: int = 0, **options: Any) -> Shop5Session:
    shop = Shop5(**options)
    session = shop.session()
    session.reset_to(shop.goals("train")[goal], seed=seed)
    return session


def play(session: Shop5Session, *actions: str) -> Step:
    return [session.step(action) for action in actions][-1]


def test_three_steps_earn_each_part_once() -> None:
    session = at_start()
    steps = [session.step(a) for a in ("search[red]", "click[1]", "click[buy now]")]
    assert [s.reward for s in steps] == [0.3, 0.3, 1.0]  # 1.6 in all, as in the old system
    assert [dict(s.parts) for s in steps] == [{"search": 0.3}, {"click": 0.3}, {"buy": 1.0}]
    assert (steps[-1].terminated, steps[-1].truncated, steps[-1].score) == (True, False, 1.0)
    assert steps[-1].page.kind == "end"


def test_a_part_is_paid_at_most_once() -> None:
    session = at_start()
    again = ("search[red]", "search[shoes]", "click[1]", "click[back to search]", "search[red]", "click[1]")
    assert [session.step(a).reward for a in again] == [0.3, 0, 0.3, 0, 0, 0]


def test_what_is_not_the_target_earns_nothing_and_scores_0() -> None:
    session = at_start()
    assert play(session, "search[laptop]").reward == 0
    assert play(session, "click[1]").reward == 0
    bought = play(session, "click[buy now]")
    assert (bought.reward, bought.score, bought.terminated) == (0, 0.0, True)


def test_pages_as_they_are_printed() -> None:
    session = at_start(1)
    page = session.reset_to(make_goals(0)[1], seed=0)
    assert page == Page(
        text="Instruction: [SEP] i want to buy blue headphones [SEP] Search",
        body="Search",
        can_search=True,
        clickables=(),
    )
    page = session.step("search[blue]").page
    assert page.body == "Back to Search [SEP] Results: 1 [SEP] 1 blue headphones $89"
    assert (page.clickables, page.products) == (("back to search", "1"), ("1",))
    assert page.results == (ResultLine("1", "blue headphones", "$89"),)
    page = session.step("click[1]").page
    assert page.body == "Back to Search [SEP] blue headphones $89 [SEP] Buy Now"
    assert (page.clickables, page.products, page.kind) == (("back to search", "buy now"), (), "item")
    assert (page.title, page.price, page.results) == ("blue headphones", "$89", ())
    page = session.step("search[nothing]").page
    assert (page.body, page.products) == ("Back to Search [SEP] Results: 0", ())


def test_buying_from_the_results_takes_what_is_listed_there() -> None:
    session = at_start()
    step = play(session, "search[red blue black white green]")
    listed = step.page.body.split(" [SEP] ")[2:]
    place = next(i for i, line in enumerate(listed, 1) if "red shoes" in line)
    assert play(session, f"buy[{place}]").score == 1.0


@pytest.mark.parametrize(
    "action",
    [
        "",
        "hello",
        "search[]",
        "search[ ]",
        "click[1]",
        "click[buy now]",
        "buy[1]",
        "buy[now]",
        "click[9]",
        "[",
    ],
)
def test_what_does_not_apply_changes_nothing_but_the_count(action: str) -> None:
    session = at_start(max_steps=2)
    before = session.reset_to(make_goals(0)[0], seed=0)
    step = session.step(action)
    assert (step.applied, step.reward, step.page) == (False, 0.0, before)
    assert not step.truncated
    assert session.step(action).truncated


def test_the_end_is_the_end() -> None:
    session = at_start(max_steps=3)
    bought = play(session, "search[red]", "click[1]", "click[buy now]")
    assert (bought.terminated, bought.truncated) == (True, False)  # bought with the last step
    after = session.step("search[red]")
    assert (after.terminated, after.applied, after.reward, after.score) == (True, False, 0.0, 1.0)
    session.reset_to(make_goals(0)[0], seed=0)
    assert [session.step("search[red]").truncated for _ in range(5)] == [False, False, True, True, True]


@pytest.mark.parametrize("reward", ["score", "binary"])
def test_unshaped_reward_pays_for_the_target_alone(reward: str) -> None:
    session = at_start(reward=reward)
    assert [session.step(a).reward for a in ("search[red]", "click[1]", "click[buy now]")] == [0, 0, 1]
    session.reset_to(make_goals(0)[1], seed=0)
    assert [session.step(a).reward for a in ("search[red]", "click[1]", "click[buy now]")] == [0, 0, 0]


def test_results_hold_any_word_and_are_shuffled_by_the_seed() -> None:
    assert [p.asin for p in search("black backpack")] == ["3", "5"]
    assert search("lap") == ()
    pages = [play(at_start(seed=s), "search[red blue black]").page.body for s in range(20)]
    assert len(set(pages)) == 6  # all orders of three
    assert pages == [play(at_start(seed=s), "search[red blue black]").page.body for s in range(20)]
    fixed = {play(at_start(seed=s, shuffle_results=False), "search[red blue]").page.body for s in range(9)}
    assert len(fixed) == 1


def test_distractors_are_named_as_not_wanted() -> None:
    assert make_goals(0)[0].instruction == "i want to buy red shoes"
    assert make_goals(2)[4].instruction == "i want to buy green backpack but not red shoes or blue headphones"
    assert [g.asin for g in make_goals(4)] == [p.asin for p in PRODUCTS]


@pytest.mark.parametrize(("distractors", "at_random", "first"), [(0, 0.40, 1.0), (4, 0.13, 0.20)])
def test_how_far_scripts_get(distractors: int, at_random: float, first: float) -> None:
    """The figures of the catalogue's docstring."""
    shop = Shop5(distractors=distractors)
    won = {}
    for name in ("random", "first"):
        episodes = [
            run_episode(shop.session(), POLICIES[name](), goal, seed)
            for seed in range(200)
            for goal in shop.goals("test")
        ]
        won[name] = sum(e.success for e in episodes) / len(episodes)
    assert won["random"] == pytest.approx(at_random, abs=0.04)
    assert won["first"] == pytest.approx(first, abs=0.04)


def test_digests_follow_what_decides_an_episode() -> None:
    changes: list[dict[str, Any]] = [
        {}, {"max_steps": 9}, {"reward": "score"}, {"reward_buy": 2.0}, {"shuffle_results": False},
        {"distractors": 1},
    ]  # fmt: skip
    assert len({Shop5(**change).digest() for change in changes}) == len(changes)
    assert Shop5().digest() == Shop5().digest()


def test_all_splits_are_the_same_goals_and_others_are_refused() -> None:
    shop = Shop5()
    assert shop.goals("train") == shop.goals("test") == shop.goals("all")
    with pytest.raises(UserError, match="unknown split"):
        shop.goals("dev")


def test_texts_hold_every_word_of_every_page() -> None:
    shop = Shop5(distractors=4)
    known = set(" ".join(shop.texts()).lower().split())
    session = shop.session()
    for goal in shop.goals("all"):
        pages = [session.reset_to(goal, seed=0)]
        actions = ("search[red blue black white green]", "click[3]", "search[x]", "search[red]", "click[1]")
        pages += [session.step(a).page for a in (*actions, "click[buy now]")]
        assert {word for page in pages for word in page.text.lower().split()} <= known
