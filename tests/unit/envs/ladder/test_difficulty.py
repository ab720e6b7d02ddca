"""How hard a real product is to buy, by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from webshop_rl.envs.ladder.difficulty import (
    WEIGHTS,
    by_difficulty,
    difficulty,
    fifths,
    main,
    rank_of,
    success_by_product,
)
from webshop_rl.envs.ladder.generator import generate
from webshop_rl.envs.webshop.catalogue import load_products
from webshop_rl.envs.webshop.lookup import ProductFinder


def test_the_terms_by_hand() -> None:
    plain = replace(generate(1, 0)[0].product, instruction="red shoes")
    assert difficulty(plain, 1).total == 0.0
    hard = replace(
        plain,
        options={"color": tuple("abcdefghij"), "size": tuple("abcdefghij")},  # 100 ways to choose
        instruction_attributes=tuple("abcdefghij"),
        pricing=(1.0, 2.0),
    )
    assert difficulty(hard, 51).total == pytest.approx(1.0)
    assert difficulty(hard, 51).num_choices == 100
    middle = replace(plain, options={"size": ("s", "m")}, instruction_attributes=("a", "b", "c", "d"))
    # rank 7: log 7 / log 51 = 0.4949; 2 choices: log 2 / log 100 = 0.1505; (4 - 1) / 9; one price
    assert difficulty(middle, 7).total == pytest.approx(0.5 * 0.49491 + 0.25 * 0.15051 + 0.15 / 3, abs=1e-4)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_rank_is_the_place_among_the_hits() -> None:
    products = [draft.product for draft in generate(15, 0)]
    finder = ProductFinder(products)
    assert rank_of(products[0], finder) == 1
    assert rank_of(replace(products[0], instruction="blue headphones"), finder) == 51
    # All its words stand in the white shirt, one of them in every other shirt.
    shirt = next(p for p in products if p.title.endswith("shirt") and p.title != "white shirt")
    assert rank_of(replace(shirt, instruction="white shirt"), finder) > 1


def test_the_order_is_that_of_difficulty_and_of_what_the_rule_buys(webshop_data_dir: Path) -> None:
    products = load_products(webshop_data_dir, num_products=300)
    ranked = by_difficulty(products)
    assert len(ranked) == sum(product.instruction is not None for product in products)
    totals = [each.total for each in ranked]
    assert totals == sorted(totals)
    assert ranked == by_difficulty(list(reversed(products)))
    bought = success_by_product(products, "rule")
    means = [sum(bought[each.product.asin] for each in part) / len(part) for part in fifths(ranked)]
    assert means[0] > 0.85
    assert means[-1] < 0.35
    assert sum(map(len, fifths(ranked))) == len(ranked)
    assert math.isclose(ranked[0].terms["rank"], 0.0)


def test_the_command_prints_a_line_a_fifth(
    webshop_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "difficulty.png"
    assert main([str(webshop_data_dir), "--num-products", "100", "--plot", str(figure)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:7]] == [f"| {n}" for n in range(1, 6)]
    assert figure.stat().st_size > 1000


def test_a_folder_without_data_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "no such file" in capsys.readouterr().err
