"""Episodes: reward kinds, ends, pages as agents see them, and the shop around them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop import session as session_module
from webshop_rl.envs.webshop.browser import parse_action
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.envs.webshop.shown import can_be_clicked
from webshop_rl.errors import UserError

BUY_EXACT = ("search[shoes]", "click[b000000001]", "click[8]", "click[red]", "click[buy now]")


@pytest.fixture(scope="module")
def data_dir(mini_data_dir: Path) -> str:
    return str(mini_data_dir)


def _shop(data_dir: str, **settings: Any) -> WebShop:
    return WebShop(data_dir=data_dir, **({"num_products": None, "split": "none"} | settings))


def _goal(shop: WebShop, asin: str = "B000000001", option: str = "red") -> Goal:
    return next(g for g in shop.goals("all") if g.asin == asin and (not option or option in g.instruction))


def test_pages_as_an_agent_sees_them(data_dir: str) -> None:
    shop = _shop(data_dir)
    goal = _goal(shop)
    session = shop.session()
    page = session.reset_to(goal, seed=0)
    assert (page.kind, page.can_search, page.clickables) == ("search", True, ())
    assert page.text == f"WebShop [SEP] Instruction: [SEP] {goal.instruction} [SEP] Search"
    assert page.body == "WebShop [SEP] Search"
    page = session.step("search[shoes]").page
    assert (page.kind, page.can_search) == ("results", False)
    assert set(page.products) == {"b000000001", "b000000002"}
    assert page.clickables == ("back to search", "next >", *page.products)
    assert page.body.startswith("Back to Search [SEP] Page 1 (Total results: 2)")
    shoes = {line.target: (line.title, line.price) for line in page.results}
    assert tuple(shoes) == page.products
    assert shoes["b000000001"] == ("Red Running Shoes", "$45.0")
    assert shoes["b000000002"] == ("Blue Running Shoes", "$30.0 to $50.0")
    page = session.step("click[b000000001]").page
    assert (page.kind, page.products) == ("item", ())
    assert page.options == ("8", "9 | 10", "red", "navy wash")
    assert page.clickables[-4:] == page.options
    assert (page.title, page.price) == ("Red Running Shoes", "$45.0")
    assert page.option_groups == {"size": ("8", "9 | 10"), "color": ("red", "navy wash")}
    assert page.chosen == {}
    assert session.step("click[red]").page.chosen == {"color": "red"}
    assert session.step("click[navy wash]").page.chosen == {"color": "navy wash"}
    assert session.step("click[8]").page.chosen == {"color": "navy wash", "size": "8"}
    page = session.step("click[features]").page
    assert (page.kind, page.clickables) == ("sub", ("back to search", "< prev"))
    assert (page.title, page.option_groups, page.results) == ("", {}, ())
    assert session.step("click[< prev]").page.chosen == {"color": "navy wash", "size": "8"}
    page = session.step("click[buy now]").page
    assert (page.kind, page.clickables, page.can_search) == ("end", (), False)
    assert page.text == page.body


@pytest.mark.parametrize("mode", ["text", "text_rich"])
def test_a_page_that_comes_again_shows_what_is_chosen_now(mode: str, data_dir: str) -> None:
    shop = _shop(data_dir, mode=mode)
    session = shop.session()
    session.reset_to(_goal(shop), seed=0)
    seen = [session.step("search[shoes]").page]
    for action in ("b000000001", "red", "< prev", "b000000002", "< prev", "b000000001", "navy wash"):
        seen.append(session.step(f"click[{action}]").page)
    assert [page.title for page in seen[1:]] == [
        *["Red Running Shoes"] * 2,
        "",
        "Blue Running Shoes",
        "",
        *["Red Running Shoes"] * 2,
    ]
    assert [page.chosen for page in seen] == [
        *({}, {}, {"color": "red"}),
        *({}, {}, {}),
        *({}, {"color": "navy wash"}),
    ]
    # Mode "text" shows no choice; the other marks it.
    assert (seen[1].text == seen[2].text == seen[7].text) == (mode == "text")
    assert ("clicked navy wash" in seen[7].text) == (mode == "text_rich")
    assert seen[1].text == seen[6].text


@pytest.mark.parametrize(
    "value",
    ["red", "9 | 10", "a]b", "]", "a[b", "a\nb", "a\rb", "a\u2028b", "", " ", "İ", "search", "x search"],
)
def test_what_can_be_clicked_is_what_an_action_can_name(value: str) -> None:
    can = parse_action(f"click[{value}]") == ("click", value) and value != "search"
    assert (can_be_clicked({value: None}) == (value,)) == can


def test_score_reward(data_dir: str) -> None:
    shop = _shop(data_dir)
    session = shop.session()
    session.reset_to(_goal(shop), seed=0)
    steps = [session.step(action) for action in BUY_EXACT]
    assert [step.reward for step in steps] == [0, 0, 0, 0, steps[-1].score]
    assert [step.terminated for step in steps] == [False] * 4 + [True]
    last = steps[-1]
    assert last.parts["r_type"] == 1.0
    assert last.parts["r_price"] == 1.0
    assert {"r_att", "r_option", "w_att", "w_option", "w_price", "title_score"} <= last.parts.keys()


def test_the_end_is_the_end(data_dir: str) -> None:
    shop = _shop(data_dir)
    session = shop.session()
    session.reset_to(_goal(shop), seed=0)
    for action in BUY_EXACT:
        last = session.step(action)
    for action in ("search[shoes]", "click[buy now]", "click[back to search]", "foo"):
        after = session.step(action)
        assert (after.page, after.score) == (last.page, last.score)
        assert (after.reward, after.terminated, after.truncated, after.applied) == (0.0, True, False, False)
    # A new episode starts afresh.
    assert session.reset_to(_goal(shop), seed=0).kind == "search"
    assert session.step("search[shoes]").terminated is False


def test_truncation(data_dir: str) -> None:
    shop = _shop(data_dir, max_steps=3)
    session = shop.session()
    session.reset_to(_goal(shop), seed=0)
    # Actions that do not apply count as well.
    steps = [session.step(action) for action in ("foo", "search[shoes]", "click[b000000001]")]
    assert [step.truncated for step in steps] == [False, False, True]
    assert [step.applied for step in steps] == [False, True, True]
    after = session.step("click[buy now]")
    assert (after.truncated, after.terminated, after.applied, after.reward) == (True, False, False, 0.0)
    assert after.page == steps[-1].page
    # A purchase with the last action ends the episode by itself.
    session.reset_to(_goal(shop), seed=0)
    for action in ("search[shoes]", "click[b000000001]"):
        session.step(action)
    bought = session.step("click[buy now]")
    assert (bought.terminated, bought.truncated) == (True, False)


def test_binary_reward(data_dir: str) -> None:
    shop = _shop(data_dir, reward="binary")
    session = shop.session()
    for actions, expected in ((BUY_EXACT, 1.0), (BUY_EXACT[:2] + BUY_EXACT[-1:], 0.0)):
        session.reset_to(_goal(shop), seed=0)
        last = [session.step(action) for action in actions][-1]
        assert last.reward == expected
        assert (last.score == 1.0) == (expected == 1.0)


def test_shaped_reward_pays_each_part_once(data_dir: str) -> None:
    shop = _shop(data_dir, reward="shaped", shaping_search=0.25, shaping_open=0.125, max_steps=20)
    session = shop.session()
    session.reset_to(_goal(shop), seed=0)
    for action, expected in (
        ("search[mug]", 0.0),
        ("click[b000000100]", 0.0),  # another product
        ("search[shoes]", 0.25),
        ("search[shoes]", 0.0),
        ("click[b000000001]", 0.125),
        ("click[8]", 0.0),
        ("click[< prev]", 0.0),
        ("click[b000000001]", 0.0),
    ):
        step = session.step(action)
        assert step.reward == expected, action
        assert sum(step.parts.values()) == expected
        assert step.score == 0.0
    last = session.step("click[buy now]")
    assert last.reward == last.score > 0
    # The next episode pays again.
    session.reset_to(_goal(shop), seed=0)
    assert session.step("search[shoes]").reward == 0.25


def test_special_searches(data_dir: str) -> None:
    shop = _shop(data_dir)

    def found(words: str, seed: int = 0) -> list[str]:
        return [p.asin for p in shop.lookup(words.split(" "), random.Random(seed))]

    assert found("<q> shoes") == ["B000000001", "B000000002"]
    assert found("<q>") == []
    assert found("<c> fashion") == ["B000000001", "B000000002"]
    assert found("<c>") == []
    assert found("<a> rubber sole") == ["B000000001", "B000000002"]
    assert found("<a> x") == []
    assert len(found("<r>")) == 20
    assert found("<r>") == found("<r>")
    assert found("<r>") != found("<r>", seed=1)
    assert len(shop.lookup(["<c>", "kitchen"], random.Random(0), cap=5)) == 5


def test_text_rich(data_dir: str) -> None:
    shop = _shop(data_dir, mode="text_rich")
    session = shop.session()
    goal = _goal(shop)
    assert session.reset_to(goal, seed=0).text.startswith("WebShop\nInstruction: \n")
    session.step("search[shoes]")
    page = session.step("click[b000000001]").page
    assert goal.instruction in page.text
    assert goal.instruction not in page.body
    assert page.body.startswith("[button] Back to Search [button_]\n")


def test_goals_of_other_shops_are_refused(data_dir: str) -> None:
    shop = _shop(data_dir)
    for stranger in (Goal("synthetic/99", "B1", "x"), Goal("synthetic/0", "B1", "another wish")):
        with pytest.raises(UserError, match="no goal"):
            shop.session().reset_to(stranger, seed=0)


def test_reset_comes_first(data_dir: str) -> None:
    with pytest.raises(RuntimeError):
        _shop(data_dir).session().step("search[x]")


def test_a_kind_without_goals_is_an_error(
    tmp_path: Path, mini_files: dict[str, Any], write_catalogue: Callable[[Path, dict[str, Any]], Path]
) -> None:
    mini_files["items_human_ins.json"] = {}
    folder = write_catalogue(tmp_path / "data", mini_files)
    with pytest.raises(UserError, match="no human goal for the first 20 products"):
        _shop(str(folder), goals="human")


def test_digests(data_dir: str) -> None:
    shop = _shop(data_dir)
    assert shop.digest() == _shop(data_dir).digest()
    for changed in (
        {"num_products": 6},
        {"goals": "human"},
        {"fidelity": "fixed"},
        {"reward": "binary"},
        {"mode": "text_rich"},
        {"max_steps": 3},
    ):
        assert _shop(data_dir, **changed).digest() != shop.digest(), changed
    assert _shop(data_dir, split="product").digest() == shop.digest()
    assert _shop(data_dir, split="product").split_digest() != shop.split_digest()


def test_texts_hold_the_words_of_pages(data_dir: str) -> None:
    shop = _shop(data_dir)
    words = {word for text in shop.texts() for word in text.split()}
    session = shop.session()
    pages = [session.reset_to(_goal(shop), seed=0)]
    pages += [session.step(action).page for action in BUY_EXACT]
    seen = {word for page in pages for word in page.text.split()} - {"[SEP]"}
    # Numbers of results, options as JSON and the score are made on the way.
    made = {word for word in seen - words if word.strip('{}",:()').replace(".", "").isalnum()}
    assert seen - words <= made
    assert {"WebShop", "Instruction:", "Search", "Next", "Price:", "$45.0", "b000000001"} <= words


def test_pages_written_once_are_those_written_whole(webshop_data_dir: Path) -> None:
    """What is kept of products gives the pages that the texts of the whole view give, at any step."""
    shop = WebShop(data_dir=str(webshop_data_dir))
    rng = random.Random(0)
    for goal in shop.goals("all")[::300]:
        session = shop.session()
        page = session.reset_to(goal, seed=0)
        for _ in range(14):
            words = " ".join(goal.instruction.split()[: rng.randint(1, 12)])
            targets = [f"click[{name}]" for name in page.clickables if name != "buy now"]
            page = session.step(rng.choice([*targets, f"search[{words}]"])).page
            assert session._browser is not None
            assert page == session_module._page(session._browser.view, "text")
