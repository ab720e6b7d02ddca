"""How hard a real product is to buy, and the products in that order.

    python -m webshop_rl.envs.ladder.difficulty DATA_DIR [--plot FILE.png]

difficulty = 0.5 rank + 0.25 options + 0.15 attributes + 0.1 price, each term in [0, 1]:

    rank        log(r) / log(51): r is the target's place among the 50 hits of its instruction (51: not found)
    options     log(n) / log(100), at most 1: n is the number of ways to choose its options
    attributes  (a - 1) / 9, at most 1: a is the number of attributes that its instruction asks for
    price       1 where the price is a range: what is charged is hidden; else 0

The command prints the terms and what the scripted policies reach, fifth by fifth.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from webshop_rl.cli import command
from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.webshop import files
from webshop_rl.envs.webshop.catalogue import Catalogue, load_products
from webshop_rl.envs.webshop.lookup import ProductFinder
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.search import MAX_HITS
from webshop_rl.envs.webshop.shop import WebShop

WEIGHTS: Final = {"rank": 0.5, "options": 0.25, "attributes": 0.15, "price": 0.1}
MANY_OPTIONS: Final = 100
MANY_ATTRIBUTES: Final = 10
FIFTHS: Final = 5


@dataclass(frozen=True)
class Difficulty:
    """A product with how hard it is to buy.

    Attributes:
        rank: place of the product among the hits of its instruction, from 1; MAX_HITS + 1 if it is not there.
        num_choices: ways to choose its options.
        terms: of the module's formula, in [0, 1], by name.
        total: their weighted sum, in [0, 1].
    """

    product: Product
    rank: int
    num_choices: int
    terms: dict[str, float]
    total: float


def by_difficulty(products: Sequence[Product]) -> list[Difficulty]:
    """The products that have an instruction, the easiest first; equals by ASIN.

    Args:
        products: the whole catalogue, in which the instructions are searched for.
    """
    finder = ProductFinder(products)
    asked = [product for product in products if product.instruction is not None]
    found = [difficulty(product, rank_of(product, finder)) for product in asked]
    return sorted(found, key=lambda each: (each.total, each.product.asin))


def rank_of(product: Product, finder: ProductFinder) -> int:
    """The product's place among the hits of its instruction, from 1; MAX_HITS + 1 if it is not there."""
    hits = [asin for asin, _ in finder.hits(product.instruction or "")]
    return hits.index(product.asin) + 1 if product.asin in hits else MAX_HITS + 1


def difficulty(product: Product, rank: int) -> Difficulty:
    """The formula of the module."""
    num_choices = math.prod(len(values) for values in product.options.values())
    terms = {
        "rank": math.log(rank) / math.log(MAX_HITS + 1),
        "options": min(1.0, math.log(max(1, num_choices)) / math.log(MANY_OPTIONS)),
        "attributes": min(1.0, (len(product.instruction_attributes) - 1) / (MANY_ATTRIBUTES - 1)),
        "price": float(len(product.pricing) > 1),
    }
    total = sum(WEIGHTS[name] * term for name, term in terms.items())
    return Difficulty(product, rank, num_choices, terms, total)


def success_by_product(products: Sequence[Product], policy: str) -> dict[str, float]:
    """Share of the goals of each product that a scripted policy buys exactly, by ASIN."""
    shop = WebShop(catalogue=Catalogue.of(products))
    outcomes: dict[str, list[bool]] = {}
    for goal in shop.goals("all"):
        record = run_episode(shop.session(), POLICIES[policy](), goal, 0)
        outcomes.setdefault(goal.asin, []).append(record.success)
    return {asin: sum(found) / len(found) for asin, found in outcomes.items()}


def fifths(ranked: Sequence[Difficulty]) -> list[Sequence[Difficulty]]:
    """The products in five parts of equal size, the easiest first."""
    ends = [len(ranked) * part // FIFTHS for part in range(FIFTHS + 1)]
    return [ranked[first:end] for first, end in itertools.pairwise(ends)]


def table(ranked: Sequence[Difficulty], successes: dict[str, dict[str, float]]) -> list[str]:
    """Lines on each fifth of the products: difficulty, its terms, success of scripted policies."""
    names = [*WEIGHTS, *successes]
    lines = ["| fifth | products | difficulty | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    for number, part in enumerate(fifths(ranked), start=1):
        means = [_mean([each.terms[name] for each in part]) for name in WEIGHTS]
        means += [_mean([found[each.product.asin] for each in part]) for found in successes.values()]
        extent = f"{part[0].total:.2f}-{part[-1].total:.2f}" if part else "-"
        cells = [str(number), str(len(part)), extent, *(f"{mean:.2f}" for mean in means)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def plot(ranked: Sequence[Difficulty], path: Path) -> None:
    """Difficulty by place, with its weighted terms stacked below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    parts = [[WEIGHTS[name] * each.terms[name] for each in ranked] for name in WEIGHTS]
    axes.stackplot(range(1, len(ranked) + 1), *parts, labels=list(WEIGHTS))
    axes.set_xlabel("products with an instruction, the easiest first")
    axes.set_ylabel("difficulty")
    axes.legend(loc="upper left")
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m webshop_rl.envs.ladder.difficulty",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data_dir", help="folder of the original data files")
    parser.add_argument(
        "--num-products", type=int, default=files.SMALL_CATALOGUE, help="first so many products"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the figure, too")
    options = parser.parse_args(arguments)
    products = load_products(files.data_folder(options.data_dir), num_products=options.num_products)
    ranked = by_difficulty(products)
    successes = {f"success of {name}": success_by_product(products, name) for name in ("first", "rule")}
    for line in table(ranked, successes):
        print(line)
    if options.plot:
        plot(ranked, options.plot)
        print(f"drawn: {options.plot}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
