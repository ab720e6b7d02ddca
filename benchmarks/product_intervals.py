"""How often the 95 % interval over products covers the truth, and how well validation chooses a checkpoint.

    python -m benchmarks.product_intervals --data-dir FOLDER

Simulated on the goals of WebShop's first 1,000 products. A product's success rate is a draw from a Beta
distribution (mean: the truth; a + b = --concentration), an episode's success a draw with that rate. Two
ways to choose the goals, side by side: an even spread over the list of goals, in which a product with
hundreds of goals has many, and product by product, as evaluations do it. Nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.evaluation.episodes import turns_of_products
from webshop_rl.statistics import effective_products, over_products

Choose = Callable[[Sequence[Goal], int], list[str]]

RATES = (0.7, 0.4, 0.05, 0.02)
NUM_EPISODES = (100, 500, 2278)
# A run of 60 updates: success on held-out products at each of its evaluations, and what it could pick.
CHECKPOINTS = (0.02, 0.15, 0.25, 0.32, 0.36, 0.38, 0.35)


def even_spread(goals: Sequence[Goal], num: int) -> list[str]:
    """Products of goals at even distances in the list; the goals in turn if there are fewer."""
    if num >= len(goals):
        return [goals[i % len(goals)].asin for i in range(num)]
    return [goals[i].asin for i in np.linspace(0, len(goals) - 1, num).round().astype(int)]


def in_turn(goals: Sequence[Goal], num: int) -> list[str]:
    """Products of goals drawn product by product."""
    drawn = list(turns_of_products(goals, seed=1000))
    return [drawn[i % len(drawn)].asin for i in range(num)]


WAYS: dict[str, Choose] = {"even spread": even_spread, "by product": in_turn}


def coverage(
    products: Sequence[str], rate: float, *, concentration: float, repetitions: int, seed: int
) -> tuple[float, float]:
    """(share of intervals that cover the rate, mean width of an interval)."""
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.asarray(products), return_inverse=True)
    covered, widths = 0, 0.0
    for repetition in range(repetitions):
        rates = rng.beta(rate * concentration, (1 - rate) * concentration, len(names))
        successes = rng.random(len(products)) < rates[index]
        weights = np.ones(len(products))
        found = over_products(successes.astype(float), weights, products, num_resamples=1000, seed=repetition)
        assert found.low is not None
        assert found.high is not None
        covered += found.low - 1e-12 <= rate <= found.high + 1e-12
        widths += found.high - found.low
    return covered / repetitions, widths / repetitions


def regret(products: Sequence[str], *, concentration: float, repetitions: int, seed: int) -> float:
    """Mean loss of success from taking the checkpoint that validates best, against the best there is.

    Checkpoints are good at different products: each draws its own rates.
    """
    rng = np.random.default_rng(seed)
    names, index = np.unique(np.asarray(products), return_inverse=True)
    truth = np.array(CHECKPOINTS)
    lost = 0.0
    for _ in range(repetitions):
        shape = (len(truth), len(names))
        rates = rng.beta(truth[:, None] * concentration, (1 - truth[:, None]) * concentration, shape)
        means = (rng.random((len(truth), len(products))) < rates[:, index]).mean(axis=1)
        lost += truth.max() - truth[int(np.argmax(means))]
    return lost / repetitions


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.product_intervals", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of WebShop's data files")
    parser.add_argument("--repetitions", type=int, default=600)
    parser.add_argument("--concentration", type=float, default=2.0, help="a + b of the Beta distribution")
    options = parser.parse_args()
    shop = WebShop(data_dir=str(options.data_dir), num_products=1000)
    kind = {"concentration": options.concentration, "repetitions": options.repetitions, "seed": 0}
    console = Console(soft_wrap=True, width=120)
    columns = [f"{rate:g}" for rate in RATES]
    shown = Table(
        "test goals", "episodes", "products", "effective", *columns, title="coverage at a success of"
    )
    for num in NUM_EPISODES:
        for way, choose in WAYS.items():
            products = choose(shop.goals("test"), num)
            found = [f"{coverage(products, rate, **kind)[0]:.3f}" for rate in RATES]
            shown.add_row(
                way, str(num), str(len(set(products))), f"{effective_products(products):.1f}", *found
            )
    console.print(shown)
    shown = Table("validation goals", "episodes", "products", "effective", "success lost by the choice")
    for num in (20, 50, 106, 526):
        for way, choose in WAYS.items():
            products = choose(shop.goals("val"), num)
            shown.add_row(
                way,
                str(num),
                str(len(set(products))),
                f"{effective_products(products):.1f}",
                f"{regret(products, **kind):.3f}",
            )
    console.print(shown)


if __name__ == "__main__":
    main()
