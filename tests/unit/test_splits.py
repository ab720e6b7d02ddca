"""Splits: fixed, disjoint by product, the literature's by place, and errors for empty ones."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from webshop_rl.envs.splits import assign, product_split, published_split
from webshop_rl.envs.types import SPLITS, Goal
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
    with pytest.raises(UserError, match=r"the train split of 13 goals holds none under env\.split=published"):
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
