"""Splits: fixed, disjoint by product, the literature's by place, and errors for empty ones."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from webshop_rl.envs.splits import Split, assign, product_split, published_split, twin_leaders
from webshop_rl.envs.types import SPLITS, Goal
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError

GOALS = [Goal(f"g/{number}", f"ASIN{number % 700}", f"wish {number}") for number in range(2000)]


def test_no_product_is_in_two_splits() -> None:
    split = assign(GOALS, "product")
    asins = {name: {goal.asin for goal in split.select(GOALS, name)} for name in SPLITS}
    assert sum(map(len, asins.values())) == len(set.union(*asins.values())) == 700
    shares = {name: len(found) / 700 for name, found in asins.items()}
    assert shares == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.05)
    assert sum(len(split.select(GOALS, name)) for name in SPLITS) == len(GOALS)
    assert list(split.select(GOALS, "all")) == GOALS


@pytest.mark.parametrize(
    ("asin", "digest_start", "split"),
    # sha256("webshop_rl split 1/<asin>") as a fraction of 1: below 0.2 (0x3333...) test, below 0.3
    # (0x4ccc...) validation. These must never change.
    [("E", "1201", "test"), ("B4", "436b", "val"), ("F", "5b0b", "train"), ("D", "f0d4", "train")],
)
def test_product_splits_are_fixed(asin: str, digest_start: str, split: str) -> None:
    digest = hashlib.sha256(f"webshop_rl split 1/{asin}".encode()).hexdigest()
    assert digest.startswith(digest_start)
    assert product_split(asin) == split


def test_twins_follow_their_smallest_asin() -> None:
    # D - E by x, E - F by y: one group, led by D. B4 is alone; G has no instruction.
    pairs = [("F", "y"), ("E", "x"), ("E", "y"), ("B4", "z"), ("D", "x"), ("B4", "z")]
    expected = {"D": "D", "E": "D", "F": "D", "B4": "B4"}
    for order in (pairs, pairs[::-1], sorted(pairs)):
        assert twin_leaders(order) == expected
    # Alone E would be tested (see above); with D it trains, and nothing else moves.
    goals = [Goal(asin, asin, "") for asin in ("D", "E", "F", "B4", "G")]
    alone, together = assign(goals, "product"), assign(goals, "product", expected)
    # Places: D 0, E 1, F 2, B4 3, G 4.
    assert _places(alone) == {"train": [0, 2, 4], "val": [3], "test": [1]}
    assert _places(together) == {"train": [0, 1, 2, 4], "val": [3], "test": []}
    assert alone.digest != together.digest
    assert assign(goals, "published", expected).digest == assign(goals, "published").digest


def _places(split: Split) -> dict[str, list[int]]:
    return {name: places.tolist() for name, places in split.places.items()}


def test_splits_do_not_depend_on_the_hash_seed() -> None:
    code = (
        "from webshop_rl.envs.splits import assign\n"
        "from webshop_rl.envs.types import Goal\n"
        "print(assign([Goal(str(n), f'A{n}', '') for n in range(50)], 'product').digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_the_published_protocol() -> None:
    split = assign(GOALS, "published")
    assert [goal.id for goal in split.select(GOALS, "test")] == [f"g/{n}" for n in range(500)]
    assert [goal.id for goal in split.select(GOALS, "val")] == [f"g/{n}" for n in range(500, 1500)]
    assert [goal.id for goal in split.select(GOALS, "train")] == [f"g/{n}" for n in range(1500, 2000)]
    assert [published_split(index) for index in (0, 499, 500, 1499, 1500)] == [
        "test",
        "test",
        "val",
        "val",
        "train",
    ]


def test_no_split() -> None:
    split = assign(GOALS[:5], "none")
    assert all(list(split.select(GOALS[:5], name)) == GOALS[:5] for name in SPLITS)


def test_empty_and_unknown_splits_are_errors() -> None:
    few = GOALS[:13]
    split = assign(few, "published")
    assert len(split.select(few, "test")) == 13
    with pytest.raises(
        UserError, match=r"the train split of 13 goals contains none under env\.split=published"
    ):
        split.select(few, "train")
    with pytest.raises(UserError, match="no split 'dev'"):
        split.select(few, "dev")
    with pytest.raises(UserError, match="no split protocol"):
        assign(few, "random")


def test_the_digest_tells_assignments_apart() -> None:
    digests = {assign(GOALS, protocol).digest for protocol in ("product", "published", "none")}
    assert len(digests) == 3
    assert assign(GOALS[:-1], "product").digest not in digests
    moved = [Goal(goal.id, goal.asin + "x", goal.instruction) for goal in GOALS]
    assert assign(moved, "published").digest not in digests


def _split_of(shop: WebShop) -> dict[str, str]:
    return {goal.asin: split for split in SPLITS for goal in shop.goals("all") if goal in _of(shop, split)}


def _of(shop: WebShop, split: str) -> list[Goal]:
    try:
        return list(shop.goals(split))
    except UserError:
        return []


@pytest.mark.parametrize("kind", ["synthetic", "human"])
def test_a_shops_twins_share_a_split(
    kind: str, tmp_path: Path, mini_files: dict[str, Any], write_catalogue: Callable[..., Path]
) -> None:
    annotations, human = mini_files["items_ins_v2_1000.json"], mini_files["items_human_ins.json"]
    wish = {"instruction": "a table.", "instruction_attributes": ["wood"], "instruction_options": []}
    # Alone: 002 and 004 train, 003 tests.
    annotations["B000000003"] = {**annotations["B000000004"], "instruction": "Find me another table"}
    human |= {"B000000002": [wish], "B000000003": [wish | {"instruction": "one more table"}]}
    before = WebShop(data_dir=str(write_catalogue(tmp_path / "a", mini_files)), num_products=None, goals=kind)
    # 003 now has the synthetic instruction of 002: in the goals of either kind it goes to training.
    annotations["B000000003"]["instruction"] = annotations["B000000002"]["instruction"]
    after = WebShop(data_dir=str(write_catalogue(tmp_path / "b", mini_files)), num_products=None, goals=kind)
    assert _split_of(before)["B000000003"] == "test"
    assert _split_of(after) == _split_of(before) | {"B000000003": "train"}
    assert after.split_digest() != before.split_digest()


def test_no_test_goal_has_the_text_of_a_training_goal(webshop_data_dir: Path) -> None:
    shop = WebShop(data_dir=str(webshop_data_dir))

    def texts(split: str) -> list[str]:
        return [
            re.sub(r", and price lower than [\d.]+ dollars$", "", g.instruction) for g in shop.goals(split)
        ]

    train, val, test = map(texts, SPLITS)
    assert sum(text in set(train) for text in test) == 0  # 8 where each product stands for itself
    assert set(test).isdisjoint(val)
    assert set(val).isdisjoint(train)
    # Four of 415 products move: each to where the smallest ASIN of its twins is.
    moved = {
        goal.asin: split
        for split in SPLITS
        for goal in shop.goals(split)
        if product_split(goal.asin) != split
    }
    assert moved == {"B093HFSQ3B": "test", "B093KBGC44": "train", "B083ZK4NRS": "val", "B09QQJJ3KM": "test"}
