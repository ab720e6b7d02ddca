"""From the words of a search to products: ranked search, and the original's special searches."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator, Sequence
from typing import overload

from webshop_rl.envs.webshop.prepared import Prepared, asin_of
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.search import MAX_HITS, SearchIndex

RESULT_CAP = MAX_HITS
SEARCHES_KEPT = 1024


class ProductFinder:
    """Finds products by search words.

    A search whose first word is "<q>", "<c>", "<a>" or "<r>" is special: the products of a query, of a
    category, with an attribute, or a random sample. In catalogue order, at most as many as any search
    gives. (The original lists more than 50 for "<q>" and "<c>", raises for "<a> x" and for "<c>" alone,
    and draws "<r>" from the global generator.)
    """

    def __init__(self, products: Sequence[Product], prepared: Prepared | None = None) -> None:
        self._products = products
        self._prepared = prepared
        if prepared is None:
            index = SearchIndex.of((product.asin, product.index_text()) for product in products)
        else:
            index = SearchIndex(prepared.postings(), prepared.ranks())
        # The pages of a search, and the episodes of a group, ask for the same.
        self._search = functools.lru_cache(SEARCHES_KEPT)(index.search)

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
            return self._having("query", argument)[:cap]
        if keywords[0] == "<c>":
            # One word: the original takes the next word, and categories have one.
            return self._having("category", keywords[1].strip() if len(keywords) > 1 else "")[:cap]
        if keywords[0] == "<a>":
            return self._having("attributes", argument)[:cap]
        if keywords[0] == "<r>":
            return rng.sample(self._products, k=min(MAX_HITS, len(self._products)))
        return Found(self._products, [number for number, _ in self._search(" ".join(keywords))])

    def _having(self, column: str, value: str) -> Sequence[Product]:
        """The products with a query, a category or an attribute, in catalogue order."""
        if self._prepared is not None:
            return Found(self._products, self._prepared.having(column, value).tolist())
        if column == "attributes":
            return [item for item in self._products if value in item.attributes]
        return [item for item in self._products if getattr(item, column) == value]

    def hits(self, query: str) -> list[tuple[str, float]]:
        """ASINs and scores of a ranked search, best first, at most 50."""
        return [(asin_of(self._products, number), score) for number, score in self._search(query)]


class Found(Sequence[Product]):
    """Some products, each read when it is looked at.

    Args:
        products: of the catalogue.
        places: of those that were found.
    """

    def __init__(self, products: Sequence[Product], places: Sequence[int]) -> None:
        self._products = products
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Product]:
        return map(self._products.__getitem__, self._places)

    @overload
    def __getitem__(self, place: int) -> Product: ...

    @overload
    def __getitem__(self, place: slice) -> Found: ...

    def __getitem__(self, place: int | slice) -> Product | Found:
        if isinstance(place, slice):
            return Found(self._products, self._places[place])
        return self._products[self._places[place]]
