"""The five products and their goals (the old system "APO only", one instruction a product)."""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.envs.types import Goal


@dataclass(frozen=True)
class Product:
    """One product; price in dollars."""

    asin: str
    name: str
    price: int


PRODUCTS = (
    Product("1", "red shoes", 45),
    Product("2", "blue headphones", 89),
    Product("3", "black laptop", 599),
    Product("4", "white shirt", 25),
    Product("5", "green backpack", 39),
)


def make_goals(num_distractors: int) -> tuple[Goal, ...]:
    """One goal a product; the instruction may also name products that are not wanted.

    Without distractors the instruction names the target alone, so whatever its words find is right:
    random admissible actions succeed in about 40 % of episodes, buying the first result always. With
    four that falls to some 10 % and 20 %, and an agent has to read which product is asked for
    (webshop-rl evaluate random env.distractors=4 episodes=400).

    Args:
        num_distractors: 0 to 4, the products that follow the target in the catalogue, cyclically.
    """
    goals = []
    for i, product in enumerate(PRODUCTS):
        others = [PRODUCTS[(i + k) % len(PRODUCTS)].name for k in range(1, num_distractors + 1)]
        text = f"i want to buy {product.name}" + (f" but not {' or '.join(others)}" if others else "")
        goals.append(Goal(id=f"shop5/{product.asin}", asin=product.asin, instruction=text))
    return tuple(goals)


def search(query: str) -> tuple[Product, ...]:
    """Products whose name holds at least one word of the query, in catalogue order."""
    words = set(query.lower().split())
    return tuple(product for product in PRODUCTS if words & set(product.name.split()))
