"""Generated products: told apart by the reward, the same from the same seed, held out as they say."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from webshop_rl.envs.ladder import generator, words
from webshop_rl.envs.ladder.generator import generate, instructions, split_of_instruction
from webshop_rl.envs.ladder.shop import stage_shop
from webshop_rl.envs.splits import product_split
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.matching import similar
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError


def shop(mock_products: int, *, split: str = "product", seed: int = 0, fidelity: str = "original") -> WebShop:
    return stage_shop(
        data_dir=None,
        num_products=None,
        split=split,
        mock_products=mock_products,
        real_products=0,
        catalogue_seed=seed,
        product_codes=True,
        fidelity=fidelity,
    )


def best_options(product: Product, goal: WebshopGoal) -> dict[str, str]:
    """Of what the product is sold with, what the goal asks for, else the first."""
    wanted = {str(name): value for name, value in goal.options}
    return {
        name: wanted[name] if wanted.get(name) in values else values[0]
        for name, values in product.options.items()
    }


@pytest.mark.parametrize("fidelity", ["original", "fixed"])
def test_only_the_product_asked_for_has_score_one(fidelity: str) -> None:
    sold = shop(95, fidelity=fidelity)
    goals = random.Random(0).sample(list(sold.goals("all")), 60)
    for goal in goals:
        perfect = [
            product.asin
            for product in sold.products
            if sold.score(product, goal, best_options(product, goal)).score == 1.0
        ]
        assert perfect == [goal.asin], goal


@pytest.mark.parametrize("fidelity", ["original", "fixed"])
def test_the_exact_purchase_alone_of_a_products_options_has_score_one(fidelity: str) -> None:
    sold = shop(95, fidelity=fidelity)
    for goal in random.Random(1).sample(list(sold.goals("all")), 80):
        product, wanted = sold.product(goal.asin), {str(name): value for name, value in goal.options}
        for values in itertools.product(*product.options.values()):
            chosen = dict(zip(product.options, values, strict=True))
            assert (sold.score(product, goal, chosen).score == 1.0) == (chosen == wanted), (goal, chosen)


def test_the_first_five_are_the_five_product_shops() -> None:
    first = [draft.product for draft in generate(5, seed=7)]
    assert [(product.title, product.pricing) for product in first] == [
        ("red shoes", (45.0,)),
        ("blue headphones", (89.0,)),
        ("black laptop", (599.0,)),
        ("white shirt", (25.0,)),
        ("green backpack", (39.0,)),
    ]


def test_distractors_share_their_words_with_the_five() -> None:
    titles = [draft.product.title.split() for draft in generate(15, seed=3)]
    assert len(set(map(tuple, titles))) == 15
    for colour, kind in titles[5:]:
        assert any(colour == first and kind != second for first, second in titles[:5])
        assert any(colour != first and kind == second for first, second in titles[:5])


def test_families_share_features() -> None:
    """Four of a kind after one another; each shares two features with the one before it."""
    later = [draft.product for draft in generate(15 + 40, seed=0)[15:]]
    for place in range(0, len(later), 4):
        family = later[place : place + 4]
        assert len({product.query for product in family}) == 1
        for one, next_one in itertools.pairwise(family):
            assert len(set(one.attributes) & set(next_one.attributes)) == 2


def test_a_smaller_shop_is_the_beginning_of_a_larger_one_and_a_seed_decides_it() -> None:
    assert generate(40, seed=0) == generate(100, seed=0)[:40]
    assert generate(40, seed=0) == generate(40, seed=0)
    assert generate(40, seed=0)[5:] != generate(40, seed=1)[5:]


def test_products_of_a_kind_are_told_apart_at_any_size() -> None:
    later = [draft.product for draft in generate(3000, seed=0)[15:]]
    assert len({(product.query, frozenset(product.attributes)) for product in later}) == len(later)
    assert len({product.asin for product in later}) == len(later)


def test_more_products_than_features_tell_apart_are_refused() -> None:
    # C(24, 3) sets of features for each of 20 kinds, and the fifteen simple products
    assert 15 + 20 * math.comb(24, 3) == generator.MAX_PRODUCTS
    with pytest.raises(UserError, match="told apart"):
        generate(generator.MAX_PRODUCTS + 1, seed=0)


def test_of_the_first_five_all_train_and_of_every_ten_after_them_five() -> None:
    homes = [product_split(draft.product.asin) for draft in generate(45, seed=0)]
    assert homes[:5] == ["train"] * 5
    for ten in (homes[5:15], homes[15:25], homes[25:35], homes[35:45]):
        assert [ten.count(split) for split in ("train", "val", "test")] == [5, 2, 3]


@pytest.mark.parametrize("split", ["product", "instruction"])
def test_no_training_goal_is_asked_for_in_a_held_out_frame(split: str) -> None:
    sold = shop(45, split=split)
    assert {split_of_instruction(goal.instruction) for goal in sold.goals("train")} == {"train"}


def test_instructions_are_held_out_of_training_products_only() -> None:
    sold = shop(15, split="instruction")
    asked = {goal.asin for goal in sold.goals("all")}
    assert asked == {p.asin for p in sold.products if product_split(p.asin) == "train"}
    for split in ("train", "val", "test"):
        assert {split_of_instruction(goal.instruction) for goal in sold.goals(split)} == {split}
        assert {goal.asin for goal in sold.goals(split)} == asked


def test_a_training_product_has_no_goal_in_a_held_out_frame_and_others_have_all_frames() -> None:
    train, held_out = generate(15, seed=0)[0], generate(15, seed=0)[6]
    assert product_split(held_out.product.asin) == "test"
    frames = [len(words.TRAIN_FRAMES), len(words.TRAIN_FRAMES + words.VAL_FRAMES + words.TEST_FRAMES)]
    assert [len(list(instructions(draft, split="product"))) for draft in (train, held_out)] == frames


def test_held_out_frames_have_no_word_that_training_frames_lack() -> None:
    known = set(" ".join(words.TRAIN_FRAMES).split())
    assert set(" ".join(words.VAL_FRAMES + words.TEST_FRAMES).split()) <= known


def test_a_frame_is_found_by_its_longest_beginning() -> None:
    assert split_of_instruction("i am looking for red shoes") == "train"
    assert split_of_instruction("i am looking to buy red shoes, and price lower than 60.00 dollars") == "test"
    assert split_of_instruction("i want red shoes") == "val"
    assert split_of_instruction("i want to buy red shoes") == "train"
    with pytest.raises(ValueError, match="not a generated"):
        split_of_instruction("Give me red shoes")


def test_the_words_do_not_stand_in_each_other() -> None:
    for one, other in itertools.permutations(words.FEATURES, 2):
        assert not similar(one, other), (one, other)
    parts = [part for feature in words.FEATURES for part in feature.split()]
    assert len(set(parts)) == len(parts)
    rest = " ".join(
        [*words.BRANDS, *(f"{kind.query} {kind.noun} {kind.aisle}" for kind in words.KINDS)]
    ).lower()
    assert not [feature for feature in words.FEATURES if feature in rest]
    nouns = [kind.noun.lower() for kind in (*words.KINDS, *words.SIMPLE_KINDS)]
    assert len(set(nouns)) == len(nouns)
