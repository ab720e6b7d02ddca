"""Goals: combinations, price limits, order, weights, and the random choice in both fidelities."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from webshop_rl.envs.goal_lists import at, by_id, by_product, homes_of, names
from webshop_rl.envs.webshop.catalogue import load_products
from webshop_rl.envs.webshop.goal_table import sample_prices
from webshop_rl.envs.webshop.goals import choose_goal, make_goals
from webshop_rl.envs.webshop.product import Product


@pytest.fixture(scope="module")
def products(mini_data_dir: Path) -> list[Product]:
    return load_products(mini_data_dir, num_products=None)


def test_prices_of_ranges(products: list[Product]) -> None:
    rng = random.Random(0)
    first, second = rng.uniform(30, 50), rng.uniform(60, 40)
    prices = sample_prices(products, random.Random(0), fidelity="original")
    assert prices["B000000002"] == first
    assert prices["B000000005"] == second
    assert prices["B000000001"] == 45.0
    fixed = sample_prices(products, random.Random(0), fidelity="fixed")
    assert (fixed["B000000002"], fixed["B000000005"]) == (50.0, 60.0)


def test_both_fidelities_leave_the_generator_alike(products: list[Product]) -> None:
    generators = random.Random(0), random.Random(0)
    for rng, fidelity in zip(generators, ("original", "fixed"), strict=True):
        sample_prices(products, rng, fidelity=fidelity)
    assert generators[0].random() == generators[1].random()


def test_synthetic_goals(products: list[Product]) -> None:
    rng = random.Random(0)
    prices = sample_prices(products, rng, fidelity="original")
    goals = make_goals(products, prices, rng, kind="synthetic")
    # 2 sizes x 2 colours, 2 colours, and the table without options.
    assert Counter(goal.asin for goal in goals) == {"B000000001": 4, "B000000002": 2, "B000000004": 1}
    assert [goal.id for goal in goals] == [f"synthetic/{place}" for place in range(7)]
    table = next(goal for goal in goals if goal.asin == "B000000004")
    # 1,234.50 dollars: no ten above it, so no limit and nothing said.
    assert table.instruction == "Find me a table with solid wood"
    assert table.price_upper == 1_000_000
    shoes = [goal for goal in goals if goal.asin == "B000000001"]
    limit = shoes[0].price_upper
    assert limit in (60.0, 70.0, 80.0)  # the larger of two of 50, 60, 70, 80
    # Options by name in alphabetical order.
    assert {goal.instruction for goal in shoes} == {
        f"Find me light weight shoes with color: {colour}, and size: {size}"
        f", and price lower than {limit:.2f} dollars"
        for colour in ("red", "navy wash")
        for size in ("8", "9 | 10")
    }
    # "light weight" is in 4 goals, "rubber sole" in 6: (1/4 + 1/6) / 2.
    assert shoes[0].weight == pytest.approx((1 / 4 + 1 / 6) / 2)


def test_the_order_is_that_of_seed_233(products: list[Product]) -> None:
    rng = random.Random(0)
    goals = make_goals(products, sample_prices(products, rng, fidelity="original"), rng, kind="synthetic")
    unshuffled = ["B000000001"] * 4 + ["B000000002"] * 2 + ["B000000004"]
    random.Random(233).shuffle(unshuffled)
    assert [goal.asin for goal in goals] == unshuffled


def test_human_goals(products: list[Product]) -> None:
    rng = random.Random(0)
    goals = make_goals(products, sample_prices(products, rng, fidelity="original"), rng, kind="human")
    # The instruction that means no attribute is left out; a full stop at the end goes.
    assert len(goals) == 1
    assert goals[0].instruction.startswith("i want red shoes, and price lower than ")
    assert goals[0].options == ((None, "red"), (None, "8"))
    assert goals[0].weight == 1.0


def test_nothing_touches_the_global_generator(products: list[Product]) -> None:
    random.seed(5)
    before = random.getstate()
    rng = random.Random(0)
    make_goals(products, sample_prices(products, rng, fidelity="original"), rng, kind="synthetic")
    assert random.getstate() == before


def test_random_choice(products: list[Product]) -> None:
    rng = random.Random(0)
    goals = make_goals(products, sample_prices(products, rng, fidelity="original"), rng, kind="synthetic")
    total = sum(goal.weight for goal in goals)
    draws = 20_000
    for fidelity, weights in (
        ("fixed", [goal.weight for goal in goals]),
        # Never the first; each the weight of the one before it; the last its own as well.
        ("original", [0.0] + [g.weight for g in goals[:-2]] + [goals[-2].weight + goals[-1].weight]),
    ):
        counts = Counter(choose_goal(goals, rng, fidelity=fidelity).index for _ in range(draws))
        for index, weight in enumerate(weights):
            assert counts[index] / draws == pytest.approx(weight / total, abs=0.015)
        assert (counts[0] == 0) == (fidelity == "original")


@pytest.mark.parametrize("part", [slice(None), slice(1, 6, 2), slice(2, 3)])
def test_goals_made_on_demand_are_those_of_a_list(part: slice, products: list[Product]) -> None:
    rng = random.Random(0)
    goals = make_goals(products, sample_prices(products, rng, fidelity="original"), rng, kind="synthetic")
    lazy, listed = goals[part], list(goals)[part]
    assert list(lazy) == listed
    assert [list(own) for own in by_product(lazy)] == by_product(listed)
    assert by_id(lazy) == by_id(listed)
    assert list(names(lazy)) == list(names(listed))
    assert list(at(lazy, np.array([0]))) == at(listed, np.array([0]))
    assert (
        homes_of(lazy, lambda asin: ord(asin[-1])).tolist() == homes_of(listed, lambda a: ord(a[-1])).tolist()
    )
    for goal_id in (
        "synthetic/7",
        "synthetic/-1",
        "synthetic/01",
        "human/0",
        "synthetic/x",
        "0",
        *by_id(goals),
    ):
        assert by_id(lazy).get(goal_id) == by_id(listed).get(goal_id)
