"""The score by hand, with the oddities of the original and their corrections."""

from __future__ import annotations

from dataclasses import replace

import pytest

from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.matching import normalise_colour, similar
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.reward import Score, match_type, score_purchase

SHOES = Product(
    asin="B1",
    title="Red Shoes",
    description="Shoes with a rubber sole.",
    bullets=("Light", "Made in Spain"),
    pricing=(45.0,),
    price_tag="$45.0",
    options={"color": ("red", "acid wash", "light pink"), "size": ("3x-large", "large")},
    attributes=("long lasting",),
    category="fashion",
    query="shoes",
    product_category="Fashion \u203a Shoes \u203a Running",
    instruction=None,
    instruction_attributes=(),
    human_instructions=(),
    nouns=("red", "shoes", "shoes", "running"),
)
GOAL = WebshopGoal(
    id="synthetic/0",
    asin="B1",
    instruction="find shoes",
    kind="synthetic",
    index=0,
    attributes=("long lasting", "rubber sole"),
    options=(("color", "red"), ("size", "3x-large")),
    price_upper=50.0,
    weight=1.0,
    query="shoes",
    category="fashion",
    product_category="Fashion \u203a Shoes \u203a Running",
    name="Red Shoes",
)


def _score(
    options: dict[str, str], goal: WebshopGoal = GOAL, price: float = 45.0, fidelity: str = "original"
) -> Score:
    return score_purchase(SHOES, SHOES, goal, price=price, options=options, fidelity=fidelity)


@pytest.mark.parametrize("fidelity", ["original", "fixed"])
def test_an_exact_purchase_by_hand(fidelity: str) -> None:
    score = _score({"color": "red", "size": "3x-large"}, fidelity=fidelity)
    # 2 attributes + 2 options + the price = 5 of 5. The title's own nouns: 3 different of 4.
    assert score.score == 1.0
    assert score.parts() == {
        "r_type": 1.0,
        "r_att": 1.0,
        "w_att": 0.4,
        "query_match": True,
        "category_match": True,
        "title_score": 0.75,
        "r_option": 1.0,
        "w_option": 0.4,
        "r_price": True,
        "w_price": 0.2,
    }


@pytest.mark.parametrize("fidelity", ["original", "fixed"])
def test_each_miss_costs_its_part(fidelity: str) -> None:
    goal = replace(GOAL, attributes=("long lasting", "waterproof membrane"))
    score = _score({"color": "red"}, goal, price=50.01, fidelity=fidelity)
    # 1 of 2 attributes, 1 of 2 options, price missed: 2 of 5.
    assert score.score == pytest.approx(0.4)
    assert (score.r_att, score.r_option, score.r_price) == (0.5, 0.5, False)
    # At the limit the price is kept.
    assert _score({}, price=50.0).r_price is True


def test_a_goal_without_options_has_no_option_part() -> None:
    parts = _score({}, replace(GOAL, options=())).parts()
    assert "r_option" not in parts
    assert "w_option" not in parts
    assert parts["w_att"] == pytest.approx(2 / 3)


def test_attributes_are_found_in_the_texts() -> None:
    for text in ("red shoes", "spain light", "light made in"):
        found = _score({}, replace(GOAL, attributes=(text,))).r_att
        # Bullets are joined in order, so what spans two of them backwards is not found.
        assert found == (0.0 if text == "spain light" else 1.0)


def test_oddity_1_a_colour_inside_a_bought_value() -> None:
    # "wash" holds "ash": what was bought is compared as "ash", the wish as it stands.
    goal = replace(GOAL, options=(("color", "acid wash"),))
    bought = {"color": "acid wash"}
    assert _score(bought, goal).r_option == 0.0
    assert _score(bought, goal, fidelity="fixed").r_option == 1.0
    # A human goal has no names, and its values are treated like the bought ones.
    human = replace(goal, options=((None, "acid wash"),))
    assert _score(bought, human).r_option == 1.0
    assert _score(bought, human, fidelity="fixed").r_option == 1.0


@pytest.mark.parametrize(
    ("wanted", "bought"),
    [
        (("size", "3x-large"), {"size": "large"}),
        (("color", "light"), {"color": "light pink"}),
        (("color", "red"), {"style": "red"}),
    ],
)
def test_oddity_2_a_wrong_option_scores(wanted: tuple[str, str], bought: dict[str, str]) -> None:
    goal = replace(GOAL, options=(wanted,))
    assert _score(bought, goal).r_option == 1.0
    assert _score(bought, goal, fidelity="fixed").r_option == 0.0


def test_fixed_options_do_not_care_for_case_and_blanks() -> None:
    goal = replace(GOAL, options=(("Color", "Light  Pink"), (None, "LARGE")))
    assert _score({"color": "light pink", "size": "large"}, goal, fidelity="fixed").r_option == 1.0


@pytest.mark.parametrize(
    ("nouns", "query", "category", "original", "fixed"),
    [
        # (nouns of the target's title) against {"red", "shoes", "running"} bought
        (("hat",), "shoes", "", 0.0, 1.0),  # oddity 4: no common noun, though the query matches
        (("hat",) * 10 + ("shoes",), "shoes", "", 0.1, 1.0),  # 1 of 11
        (("hat",), "hats", "A \u203a B", 0.0, 0.0),
        (("hat",) * 10 + ("shoes",), "hats", "", 0.1, 0.1),
        (("hat",) * 5 + ("shoes",), "hats", "", 0.5, 0.5),  # 1 of 6: at most 0.2 is no match
        (("hat",) * 3 + ("shoes",), "hats", "", 1.0, 1.0),  # 1 of 4
        (("hat",) * 5 + ("shoes",), "hats", "Shoes \u203a Fashion", 1.0, 1.0),  # two levels, any order
        (("hat",) * 5 + ("shoes",), "hats", "Shoes \u203a Hats", 0.5, 0.5),
        ((), "hats", "", 0.5, 0.5),  # no nouns to compare: 0.2
    ],
)
def test_type(nouns: tuple[str, ...], query: str, category: str, original: float, fixed: float) -> None:
    target = replace(SHOES, asin="B2", nouns=nouns)
    goal = replace(GOAL, query=query, product_category=category)
    assert match_type(SHOES, target, goal, fidelity="original").r_type == original
    assert match_type(SHOES, target, goal, fidelity="fixed").r_type == fixed


def test_matching() -> None:
    assert normalise_colour("light pink") == "light"  # alphabetically before pink
    assert normalise_colour("x-large") == "x-large"
    assert normalise_colour("swash") == "ash"
    assert similar("('size', 'large')", "large")
    assert not similar("large", "small")
    assert similar("café au lait", "caf au lait")  # Latin-1 letters beyond ASCII are dropped
    assert not similar("", "")
    # 6 of 7 letters in common: 2 x 6 / 14 = 85.7, rounded 86; 11 of 13: 2 x 11 / 26 = 84.6, rounded 85.
    assert similar("abcdefg", "abcdefx")
    assert not similar("abcdefghijklm", "abcdefghijkxy")
