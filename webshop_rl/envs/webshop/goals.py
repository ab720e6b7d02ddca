"""Goals: what the shopper asks for, sampled and ordered exactly as the original does.

The original draws the prices of range products, then one price limit per instruction, from Python's
global generator, and shuffles the goals after `random.seed(233)`. Here a private generator seeded with
0 stands in for the global one, so the draws are those of the original after `random.seed(0)`.
"""

from __future__ import annotations

import bisect
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from webshop_rl.envs.types import Goal
from webshop_rl.envs.webshop.product import Product

SAMPLING_SEED = 0
ORDER_SEED = 233
PRICE_STEPS = tuple(10.0 * step for step in range(1, 100))
NO_PRICE_LIMIT = 1_000_000


@dataclass(frozen=True)
class WebshopGoal(Goal):
    """A goal of WebShop.

    Attributes:
        kind: "synthetic" or "human".
        index: place in the shuffled list of its kind; the published protocol splits by it.
        attributes: what the product should have; never empty.
        options: (option name, value) to choose; the name is None in human goals.
        price_upper: highest price allowed, dollars; 1,000,000 if the instruction names none.
        weight: weight in the original's random choice of a goal.
        query, category, product_category, name: of the target product.
    """

    kind: str
    index: int
    attributes: tuple[str, ...]
    options: tuple[tuple[str | None, str], ...]
    price_upper: float
    weight: float
    query: str
    category: str
    product_category: str
    name: str


def sample_prices(products: Iterable[Product], rng: random.Random, *, fidelity: str) -> dict[str, float]:
    """The price at which each product is sold, dollars, by ASIN.

    "original": a product whose price is a range is sold at a hidden uniform sample from it. "fixed": at
    the upper end, which the page shows. The sample is drawn in both, so that the draws after it agree.
    """
    prices: dict[str, float] = {}
    for product in products:
        if len(product.pricing) == 1:
            prices[product.asin] = product.pricing[0]
        else:
            sample = rng.uniform(*product.pricing)
            prices[product.asin] = sample if fidelity == "original" else max(product.pricing)
    return prices


def make_goals(
    products: Sequence[Product], prices: Mapping[str, float], rng: random.Random, *, kind: str
) -> list[WebshopGoal]:
    """All goals of a kind, in the original's shuffled order.

    Args:
        products: in catalogue order.
        prices: by ASIN, as sample_prices gives them.
        rng: the generator that sample_prices has used; the price limits are drawn from it.
        kind: "synthetic" (every combination of options of a product with an instruction) or "human".
    """
    drafts = _human(products, prices, rng) if kind == "human" else _synthetic(products, prices, rng)
    weights = [1.0] * len(drafts) if kind == "human" else _rarity(drafts)
    order = list(range(len(drafts)))
    # The original reseeds and shuffles the list itself; the permutation depends on its length only.
    random.Random(ORDER_SEED).shuffle(order)
    return [drafts[place].goal(kind, index, weights[place]) for index, place in enumerate(order)]


def choose_goal(goals: Sequence[WebshopGoal], rng: random.Random, *, fidelity: str) -> WebshopGoal:
    """A random goal by weight.

    "fixed" draws each goal in proportion to its weight. "original" keeps a slip of one place: goal 0 is
    never drawn, goal i has the weight of goal i - 1, and the last has those of the last two.
    """
    sums = list(itertools.accumulate(goal.weight for goal in goals))
    position = rng.uniform(0, sums[-1])
    place = bisect.bisect(sums, position)
    if fidelity == "original":
        place += 1
    return goals[min(place, len(goals) - 1)]


@dataclass(frozen=True)
class _Draft:
    product: Product
    instruction: str
    attributes: tuple[str, ...]
    options: tuple[tuple[str | None, str], ...]
    price_upper: float

    def goal(self, kind: str, index: int, weight: float) -> WebshopGoal:
        return WebshopGoal(
            id=f"{kind}/{index}",
            asin=self.product.asin,
            instruction=self.instruction,
            kind=kind,
            index=index,
            attributes=self.attributes,
            options=self.options,
            price_upper=self.price_upper,
            weight=weight,
            query=self.product.query,
            category=self.product.category,
            product_category=self.product.product_category,
            name=self.product.title,
        )


def _synthetic(products: Sequence[Product], prices: Mapping[str, float], rng: random.Random) -> list[_Draft]:
    drafts = []
    for product in products:
        if product.instruction is None:
            continue
        limit, limit_text = price_limit(prices[product.asin], rng)
        names = sorted(product.options)
        for values in itertools.product(*(product.options[name] for name in names)):
            options = tuple(zip(names, values, strict=True))
            wish = ", and ".join(f"{name}: {value}" for name, value in options)
            text = product.instruction + (f" with {wish}" if wish else "") + limit_text
            drafts.append(_Draft(product, text, product.instruction_attributes, options, limit))
    return drafts


def _human(products: Sequence[Product], prices: Mapping[str, float], rng: random.Random) -> list[_Draft]:
    drafts = []
    for product in products:
        for wish in product.human_instructions:
            if not wish.attributes:
                continue
            limit, limit_text = price_limit(prices[product.asin], rng)
            text = wish.text.strip(".") + limit_text
            options = tuple((None, value) for value in wish.options)
            drafts.append(_Draft(product, text, wish.attributes, options, limit))
    return drafts


def price_limit(price: float, rng: random.Random) -> tuple[float, str]:
    """The larger of two samples from the next four tens above the price, and how it is said.

    Above 980 dollars fewer than two tens are left: no limit, and nothing is said.
    """
    candidates = [step for step in PRICE_STEPS if step > price][:4]
    if len(candidates) < 2:
        return NO_PRICE_LIMIT, ""
    limit = max(rng.sample(candidates, 2))
    return limit, f", and price lower than {limit:.2f} dollars"


def _rarity(drafts: Sequence[_Draft]) -> list[float]:
    """The mean over a goal's attributes of 1 / (number of goals with that attribute)."""
    counts = Counter(attribute for draft in drafts for attribute in draft.attributes)
    return [
        sum(1.0 / counts[attribute] for attribute in draft.attributes) / len(draft.attributes)
        for draft in drafts
    ]
