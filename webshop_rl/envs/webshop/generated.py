"""Goals for products that have none: instructions in the manner of the catalogue's own.

Of 1,000 products 415 have an instruction ("Find me loose fit women's tops with short sleeve for teen
girls"); the others have a title, a query under which they are found, options, and mostly attributes. From
these an instruction is put together, as many attributes before the query as after it; where a product has
fewer than two attributes, pairs of words that follow each other in its title stand in. They are goals for
training only.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Mapping, Sequence

from webshop_rl.envs.webshop.goal_table import price_limit
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product

KIND = "generated"
SEED = 1
FEWEST_ATTRIBUTES = 2
MOST_ATTRIBUTES = 5
MOST_GOALS = 40  # of a product, a sample of the combinations of its options


def generated_goals(
    products: Sequence[Product], prices: Mapping[str, float], allowed: set[str]
) -> list[WebshopGoal]:
    """Goals of some products, the same on every machine.

    Args:
        products: in catalogue order.
        prices: by ASIN.
        allowed: ASINs of the products that goals are made of: training products without an instruction.
    """
    goals = list[WebshopGoal]()
    for product in products:
        if product.asin not in allowed:
            continue
        rng = random.Random(f"{SEED} {product.asin}")
        attributes = _attributes(product, rng)
        if len(attributes) < FEWEST_ATTRIBUTES or not product.query:
            continue
        limit, limit_text = price_limit(prices[product.asin], rng)
        names = sorted(name for name, values in product.options.items() if values)
        for values in _combinations([product.options[name] for name in names], rng):
            options = tuple(zip(names, values, strict=True))
            wanted = ", and ".join(f"{name}: {value}" for name, value in options)
            text = (
                _instruction(attributes, product.query) + (f" with {wanted}" if wanted else "") + limit_text
            )
            goals.append(
                WebshopGoal(
                    id=f"{KIND}/{product.asin}/{len(goals)}",
                    asin=product.asin,
                    instruction=text,
                    kind=KIND,
                    index=len(goals),
                    attributes=attributes,
                    options=options,
                    price_upper=limit,
                    weight=1.0,
                    query=product.query,
                    category=product.category,
                    product_category=product.product_category,
                    name=product.title,
                )
            )
    return goals


def _attributes(product: Product, rng: random.Random) -> tuple[str, ...]:
    """Some of the product's attributes; pairs of words of its title where there are too few."""
    own = list(dict.fromkeys(attribute.lower() for attribute in product.attributes))
    if len(own) < FEWEST_ATTRIBUTES:
        words = re.findall(r"[a-z]{3,}", product.title.lower())
        pairs = list(dict.fromkeys(f"{a} {b}" for a, b in itertools.pairwise(words)))
        # As they stand in the title: a pair across a comma is not in it.
        pairs = [pair for pair in pairs if pair in product.title.lower()]
        own += rng.sample(pairs, min(len(pairs), FEWEST_ATTRIBUTES))
    return tuple(rng.sample(own, min(len(own), rng.randint(FEWEST_ATTRIBUTES, MOST_ATTRIBUTES))))


def _instruction(attributes: Sequence[str], query: str) -> str:
    half = (len(attributes) + 1) // 2
    before, after = attributes[:half], attributes[half:]
    return f"Find me {', '.join(before)} {query}" + (f" with {', '.join(after)}" if after else "")


def _combinations(values: Sequence[Sequence[str]], rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Combinations of one value of each option: all, or a sample without repeats."""
    number = 1
    for own in values:
        number *= len(own)
    if number <= MOST_GOALS:
        yield from itertools.product(*values)
        return
    drawn = dict.fromkeys(tuple(rng.choice(own) for own in values) for _ in range(4 * MOST_GOALS))
    yield from itertools.islice(drawn, MOST_GOALS)
