"""Several shops as one: goals with names of their own, episodes in their own shop."""

from __future__ import annotations

import pytest

from webshop_rl.envs.ladder.shop import stage_shop
from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.staged import StagedShop
from webshop_rl.envs.types import SPLITS
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError
from webshop_rl.evaluation.episodes import evaluation_specs


def stage(mock_products: int, split: str, max_steps: int) -> WebShop:
    return stage_shop(
        data_dir=None,
        num_products=None,
        split=split,
        mock_products=mock_products,
        real_products=0,
        catalogue_seed=0,
        product_codes=True,
        max_steps=max_steps,
    )


@pytest.fixture(scope="module")
def shops() -> dict[str, WebShop]:
    return {"few": stage(5, "instruction", 6), "many": stage(40, "product", 12)}


@pytest.fixture(scope="module")
def both(shops: dict[str, WebShop]) -> StagedShop:
    return StagedShop(shops)


def test_goals_are_those_of_the_stages_under_names_of_their_own(
    both: StagedShop, shops: dict[str, WebShop]
) -> None:
    for split in (*SPLITS, "all"):
        goals = both.goals(split)
        assert [goal.id for goal in goals] == [
            f"{name}/{goal.id}" for name, shop in shops.items() for goal in shop.goals(split)
        ]
        assert {goal.stage for goal in goals} == {"few", "many"}
    assert len({goal.id for goal in both.goals("all")}) == len(both.goals("all"))


def test_an_episode_is_that_of_the_stages_own_shop(both: StagedShop, shops: dict[str, WebShop]) -> None:
    session = both.session()
    for goal in [*both.goals("test")[:5], *both.goals("test")[-5:], *both.goals("test")[:2]]:
        own = shops[goal.stage].session()
        ours = run_episode(session, POLICIES["rule"](), goal, 3)
        theirs = run_episode(own, POLICIES["rule"](), both.own(goal), 3)
        assert session.goal is goal
        assert (ours.pages, ours.actions, ours.steps) == (theirs.pages, theirs.actions, theirs.steps)


def test_each_stage_keeps_its_own_step_limit(both: StagedShop) -> None:
    session = both.session()
    for goal, limit in ((both.goals("test")[0], 6), (both.goals("test")[-1], 12)):
        session.reset_to(goal, seed=0)
        steps = [session.step("search[nothing]") for _ in range(limit)]
        assert [step.truncated for step in steps] == [False] * (limit - 1) + [True]
    assert both.max_steps == 12


def test_texts_are_those_of_every_stage(both: StagedShop, shops: dict[str, WebShop]) -> None:
    texts = set(both.texts())
    for shop in shops.values():
        assert set(shop.texts()) <= texts
        assert set(shop.furniture()) <= set(both.furniture())


def test_answers_are_those_of_the_goals_stage(both: StagedShop, shops: dict[str, WebShop]) -> None:
    answers = both.answers()
    for goal in (both.goals("train")[0], both.goals("train")[-1]):
        own, known = shops[goal.stage].answers(), both.own(goal)
        assert answers.query(goal) == own.query(known)
        target = known.asin.lower()
        assert answers.worth(goal, target) == own.worth(known, target) == 1.0
        assert answers.options(goal, target) == own.options(known, target)
    with pytest.raises(ValueError, match="train"):
        answers.query(both.goals("test")[0])


def test_digests_tell_stages_and_their_order_apart(both: StagedShop, shops: dict[str, WebShop]) -> None:
    swapped = StagedShop(dict(reversed(shops.items())))
    renamed = StagedShop({"small": shops["few"], "many": shops["many"]})
    one = StagedShop({"few": shops["few"]})
    assert len({shop.digest() for shop in (both, swapped, renamed, one)}) == 4
    assert len({shop.split_digest() for shop in (both, swapped, renamed, one)}) == 4


def test_goals_of_other_shops_are_refused(both: StagedShop, shops: dict[str, WebShop]) -> None:
    with pytest.raises(UserError, match="no goal"):
        both.session().reset_to(shops["few"].goals("test")[0], seed=0)


def test_an_evaluation_plays_as_many_episodes_of_each_stage(both: StagedShop) -> None:
    specs = evaluation_specs(both.goals("test"), 7, seed=0)
    assert [spec.goal.stage for spec in specs] == ["few"] * 7 + ["many"] * 7
    alone = evaluation_specs([goal for goal in both.goals("test") if goal.stage == "many"], 7, seed=0)
    assert specs[7:] == alone
