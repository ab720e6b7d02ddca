"""Generated goals: of training products alone, met by buying their product, and nowhere but in training."""

from __future__ import annotations

from pathlib import Path

import pytest

from webshop_rl.envs import splits
from webshop_rl.envs.demonstrators import Demonstrator
from webshop_rl.envs.webshop import shop as shop_module
from webshop_rl.envs.webshop.generated import FEWEST_ATTRIBUTES, MOST_GOALS
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError


@pytest.fixture(scope="module")
def given(webshop_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(webshop_data_dir))


@pytest.fixture(scope="module")
def more(webshop_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(webshop_data_dir), train_goals="generated")


def test_only_training_has_more_goals(given: WebShop, more: WebShop) -> None:
    for split in ("val", "test", "all"):
        assert more.goals(split) == given.goals(split)
    known, train = given.goals("train"), more.goals("train")
    assert train[: len(known)] == known
    assert len({goal.asin for goal in train}) > 1.5 * len({goal.asin for goal in known})
    assert len({goal.id for goal in train}) == len(train)
    assert more.split_digest() == given.split_digest()
    assert more.digest() != given.digest()


def test_too_many_products_to_list_the_goals_of_are_refused(
    webshop_data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shop_module, "MOST_GENERATED", 99)
    with pytest.raises(UserError, match="generated goals are listed, of 1,000 products too many"):
        WebShop(data_dir=str(webshop_data_dir), train_goals="generated")


def test_no_held_out_product_and_no_text_of_one_appears(more: WebShop) -> None:
    train = more.goals("train")
    generated = [goal for goal in train if goal.kind == "generated"]
    for split in ("val", "test"):
        held_out = more.goals(split)
        assert not {goal.asin for goal in train} & {goal.asin for goal in held_out}
        assert not {goal.instruction for goal in train} & {goal.instruction for goal in held_out}
    texts = ((p.asin, text) for p in more.products for text in p.instructions())
    leaders = splits.twin_leaders(texts)
    assert {splits.product_split(leaders.get(goal.asin, goal.asin)) for goal in generated} == {"train"}


@pytest.mark.parametrize("split", ["published", "none"])
def test_under_other_protocols_no_product_of_a_held_out_goal_has_one(
    webshop_data_dir: Path, split: str
) -> None:
    shop = WebShop(data_dir=str(webshop_data_dir), train_goals="generated", split=split)
    generated = {goal.asin for goal in shop.goals("train") if goal.kind == "generated"}
    held_out = {goal.asin for part in ("val", "test") for goal in shop.goals(part)}
    assert generated
    assert not generated & held_out


def test_what_a_goal_asks_for_its_product_has(more: WebShop) -> None:
    """The full score is earned by buying the product with the options that are named."""
    counts: dict[str, int] = {}
    generated = [goal for goal in more.goals("train") if goal.kind == "generated"]
    for goal in generated:
        counts[goal.asin] = counts.get(goal.asin, 0) + 1
        product = more.product(goal.asin)
        assert len(goal.attributes) >= FEWEST_ATTRIBUTES
        assert all(attribute in goal.instruction for attribute in goal.attributes)
        assert more.prices[goal.asin] <= goal.price_upper
        assert all(value in product.options[str(name)] for name, value in goal.options)
        assert all(f"{name}: {value}" in goal.instruction for name, value in goal.options)
        score = more.score(product, goal, {str(name): value for name, value in goal.options})
        assert (score.r_att, score.type_match.r_type) == (1.0, 1.0)
    assert max(counts.values()) <= MOST_GOALS


def test_a_demonstrator_meets_most_of_them(more: WebShop) -> None:
    demonstrator = Demonstrator(more.answers(), more.max_steps)
    firsts = {goal.asin: goal for goal in more.goals("train") if goal.kind == "generated"}
    scores = [_played(more, demonstrator, goal) for goal in list(firsts.values())[:60]]
    assert sum(score == 1.0 for score in scores) > 40


def _played(shop: WebShop, demonstrator: Demonstrator, goal: WebshopGoal) -> float:
    session = shop.session()
    pages, actions = [session.reset_to(goal, seed=0)], list[str]()
    while True:
        actions.append(demonstrator.act(goal, pages, actions))
        step = session.step(actions[-1])
        pages.append(step.page)
        if step.terminated or step.truncated:
            return step.score
