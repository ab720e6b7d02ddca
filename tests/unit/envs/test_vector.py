"""B sessions stepped together are B sessions stepped one by one, and the same search is made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.vector import VectorEnv
from webshop_rl.envs.webshop.search import SearchIndex
from webshop_rl.envs.webshop.shop import WebShop


@pytest.fixture(scope="module")
def shop(mini_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(mini_data_dir), num_products=None, split="none")


def test_the_steps_are_those_of_single_sessions(shop: WebShop) -> None:
    goals = [*shop.goals("all")][:5]
    names = ["rule", "random", "backtrack", "first", "random"]
    alone = [
        run_episode(shop.session(), POLICIES[name](), goal, seed)
        for seed, (name, goal) in enumerate(zip(names, goals, strict=True))
    ]
    env = VectorEnv(shop, len(goals))
    pages = env.reset(goals, range(len(goals)))
    assert pages == [record.pages[0] for record in alone]
    for turn in range(max(len(record.actions) for record in alone)):
        actions = [record.actions[turn] if turn < len(record.actions) else None for record in alone]
        steps = env.step(actions)
        assert steps == [r.steps[turn] if turn < len(r.actions) else None for r in alone]
    # One of them begins anew; another stays at its end.
    page = env.reset(goals[:1], [7], places=[1])[0]
    assert goals[0].instruction in page.text
    last, applied = alone[0].steps[-1], env.step(["search[shoes]"] * len(env))
    assert applied[0] is not None
    assert applied[1] is not None
    assert (applied[0].page, applied[0].applied) == (last.page, False)
    assert applied[1].applied


def test_each_session_has_its_action_and_goal(shop: WebShop) -> None:
    env = VectorEnv(shop, 2)
    goal = shop.goals("all")[0]
    with pytest.raises(ValueError, match=r"shorter|longer"):
        env.reset([goal], [0, 1])
    env.reset([goal, goal], [0, 1])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        env.step(["search[x]"])


def test_sessions_share_their_searches(mini_data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []
    search = SearchIndex.search

    def counted(self: SearchIndex, query: str, limit: int = 50) -> list[tuple[int, float]]:
        searched.append(query)
        return search(self, query, limit)

    monkeypatch.setattr(SearchIndex, "search", counted)
    shop = WebShop(data_dir=str(mini_data_dir), num_products=None, split="none")
    env = VectorEnv(shop, 3)
    env.reset([shop.goals("all")[0]] * 3, range(3))
    for actions in (["search[mug]"] * 3, ["click[next >]"] * 3, ["click[< prev]", "search[lamp]", None]):
        env.step(actions)
    assert searched == ["mug", "lamp"]
