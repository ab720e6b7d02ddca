"""What goals are made of, as arrays: instructions, price limits, weights, and the original's shuffled order.

The original draws the prices of range products, then one price limit per instruction, from Python's
global generator, and shuffles the goals after `random.seed(233)`. Here a private generator seeded with
0 stands in for the global one, so the draws are those of the original after `random.seed(0)`.
"""

from __future__ import annotations

import bisect
import hashlib
import math
import random
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from webshop_rl.envs.webshop.product import Product

SAMPLING_SEED = 0
ORDER_SEED = 233
PRICE_STEPS = tuple(10.0 * step for step in range(1, 100))
NO_PRICE_LIMIT = 1_000_000

Integers = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class GoalTable:
    """What goals of a kind are made of, as arrays: I instructions of products, G goals.

    Attributes:
        kind: "synthetic" or "human".
        products: [I] the product of each instruction, by its place in the catalogue.
        firsts: [I] the first place in the catalogue of a product with the same ASIN.
        wishes: [I] which of the product's instructions by people it is; 0 for synthetic goals.
        limits: [I] highest price allowed, dollars.
        weights: [I] weight of each of its goals.
        starts: [I + 1] goals of the instructions before it, in catalogue order.
        order: [G] place in catalogue order of each goal.
        instructions: [G] instruction of each goal.
    """

    kind: str
    products: Integers
    firsts: Integers
    wishes: Integers
    limits: Floats
    weights: Floats
    starts: Integers
    order: Integers
    instructions: Integers

    def digest(self) -> str:
        """Hex digest of all of it."""
        digest = hashlib.sha256(self.kind.encode())
        for column in fields(self)[1:]:
            values = getattr(self, column.name)
            digest.update(np.ascontiguousarray(values, dtype=float if values.dtype.kind == "f" else int).data)
        return digest.hexdigest()


class GoalCollector:
    """Collects what the goals of a kind are made of, product by product."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._products = array("i")
        self._firsts = array("i")
        self._wishes = array("i")
        self._sizes = array("i")
        self._wanted: list[tuple[str, ...]] = []

    def add(self, number: int, product: Product, *, first: int | None = None) -> None:
        """The next product.

        Args:
            number: its place in the catalogue.
            first: that of the first product with its ASIN, where it is another.
        """
        for wish, attributes, size in _instructions(product, self._kind):
            self._products.append(number)
            self._firsts.append(number if first is None else first)
            self._wishes.append(wish)
            self._sizes.append(size)
            self._wanted.append(attributes)

    def table(self, prices: Sequence[float] | Floats, rng: random.Random) -> GoalTable:
        """The table of all products so far.

        Args:
            prices: by place in the catalogue.
            rng: the generator that sample_prices has used; the price limits are drawn from it.
        """
        sizes = np.array(self._sizes, dtype=np.int32)
        starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        order = array("i", range(starts[-1]))
        # The original reseeds and shuffles the list itself; the permutation depends on its length only.
        random.Random(ORDER_SEED).shuffle(order)
        places = np.array(order, dtype=np.int32)
        return GoalTable(
            kind=self._kind,
            products=np.array(self._products, dtype=np.int32),
            firsts=np.array(self._firsts, dtype=np.int32),
            wishes=np.array(self._wishes, dtype=np.int32),
            limits=np.array(
                [price_limit(float(prices[n]), rng)[0] for n in self._products], dtype=np.float64
            ),
            weights=np.ones(len(sizes)) if self._kind == "human" else _rarity(self._wanted, self._sizes),
            starts=starts,
            order=places,
            instructions=np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[places],
        )


def tabulate(
    products: Iterable[Product], prices: Mapping[str, float], rng: random.Random, *, kind: str
) -> GoalTable:
    """The table behind make_goals, with the same arguments; the products are read once."""
    collector = GoalCollector(kind)
    first_of: dict[str, int] = {}
    paid = []
    for number, product in enumerate(products):
        collector.add(number, product, first=first_of.setdefault(product.asin, number))
        paid.append(prices[product.asin])
    return collector.table(paid, rng)


def _instructions(product: Product, kind: str) -> Iterator[tuple[int, tuple[str, ...], int]]:
    """Of each instruction that goals are made of: its number, the attributes it asks for, how many goals."""
    if kind == "human":
        for number, wish in enumerate(product.human_instructions):
            if wish.attributes:
                yield number, wish.attributes, 1
    elif product.instruction is not None:
        yield 0, product.instruction_attributes, math.prod(map(len, product.options.values()))


def sample_prices(products: Iterable[Product], rng: random.Random, *, fidelity: str) -> dict[str, float]:
    """The price at which each product is sold, dollars, by ASIN.

    "original": a product whose price is a range is sold at a hidden uniform sample from it. "fixed": at
    the upper end, which the page shows. The sample is drawn in both, so that the draws after it agree.
    """
    return {product.asin: sample_price(product.pricing, rng, fidelity=fidelity) for product in products}


def sample_price(pricing: Sequence[float], rng: random.Random, *, fidelity: str) -> float:
    """The price of one product, as sample_prices has it."""
    if len(pricing) == 1:
        return pricing[0]
    sample = rng.uniform(*pricing)
    return sample if fidelity == "original" else max(pricing)


def price_limit(price: float, rng: random.Random) -> tuple[float, str]:
    """The larger of two samples from the next four tens above the price, and how it is said.

    Above 980 dollars fewer than two tens are left: no limit, and nothing is said.
    """
    candidates = PRICE_STEPS[bisect.bisect(PRICE_STEPS, price) :][:4]
    limit = NO_PRICE_LIMIT if len(candidates) < 2 else max(rng.sample(candidates, 2))
    return limit, limit_text(limit)


def limit_text(limit: float) -> str:
    """How a price limit is said."""
    return "" if limit == NO_PRICE_LIMIT else f", and price lower than {limit:.2f} dollars"


def _rarity(wanted: Sequence[tuple[str, ...]], sizes: Sequence[int]) -> Floats:
    """For each instruction the mean over its attributes of 1 / (number of goals with that attribute)."""
    counts = Counter[str]()
    for attributes, size in zip(wanted, sizes, strict=True):
        for attribute in attributes:
            counts[attribute] += size
    return np.array(
        [
            sum(1.0 / (counts[attribute] or 1) for attribute in attributes) / len(attributes)
            for attributes in wanted
        ]
    )
