"""From the words of a search to products: ranked search, and the original's special searches."""

from __future__ import annotations

import random
from collections.abc import Sequence

from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.search import MAX_HITS, SearchIndex

RESULT_CAP = MAX_HITS


class ProductFinder:
    """Finds products by search words.

    A search whose first word is "<q>", "<c>", "<a>" or "<r>" is special: the products of a query, of a
    category, with an attribute, or a random sample. In catalogue order, at most as many as any search
    gives. (The original lists more than 50 for "<q>" and "<c>", raises for "<a> x" and for "<c>" alone,
    and draws "<r>" from the global generator.)
    """

    def __init__(self, products: Sequence[Product]) -> None:
        self._products = products
        self._index = SearchIndex.of((product.asin, product.index_text()) for product in products)

    def find(
        self, keywords: list[str], rng: random.Random, *, cap: int | None = RESULT_CAP
    ) -> Sequence[Product]:
        """The products found, best first.

        Args:
            keywords: the lower-cased search text split at single spaces.
            rng: for "<r>".
            cap: most products of a special search; None for no limit.
        """
        argument = " ".join(keywords[1:]).strip()
        if keywords[0] == "<q>":
            return [item for item in self._products if item.query == argument][:cap]
        if keywords[0] == "<c>":
            # One word: the original takes the next word, and categories have one.
            category = keywords[1].strip() if len(keywords) > 1 else ""
            return [item for item in self._products if item.category == category][:cap]
        if keywords[0] == "<a>":
            return [item for item in self._products if argument in item.attributes][:cap]
        if keywords[0] == "<r>":
            return rng.sample(self._products, k=min(MAX_HITS, len(self._products)))
        return [self._products[number] for number, _ in self._index.search(" ".join(keywords))]

    def hits(self, query: str) -> list[tuple[str, float]]:
        """ASINs and scores of a ranked search, best first, at most 50."""
        return [(self._products[number].asin, score) for number, score in self._index.search(query)]
