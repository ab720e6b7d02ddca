"""The reproduction in the state in which the original was recorded."""

from __future__ import annotations

import random

from webshop_rl.envs.webshop.browser import Browser
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.shop import WebShop

NUM_PRODUCTS = 1000


class Reference:
    """The shops that rows are compared with.

    Args:
        data_dir: folder of the original data files.
    Raises: UserError if the data are missing or broken.
    """

    def __init__(self, data_dir: str | None) -> None:
        self.synthetic = WebShop(data_dir=data_dir, num_products=NUM_PRODUCTS, goals="synthetic")
        self.products = {product.asin: product for product in self.synthetic.products}
        self.human = WebShop(data_dir=data_dir, num_products=NUM_PRODUCTS, goals="human")

    def shop(self, kind: str) -> WebShop:
        """The shop with goals of a kind, "human" or "synthetic"."""
        return self.human if kind == "human" else self.synthetic


class RecordedBrowser(Browser):
    """A browser with the bugs that the original had when the rows were recorded.

    Special searches are not cut at 50 results, the meaning of "next >" and "< prev" is read from the
    page's address, search words included, and an episode goes on after its end. The reward of the last
    action is kept as the original types it: the whole number 0 if it did not apply.
    """

    def __init__(self, shop: WebShop, goal: WebshopGoal) -> None:
        self.reward: float = 0.0
        self.done = False
        self._shop = shop
        self._goal = goal
        rng = random.Random(0)
        super().__init__(
            goal.instruction,
            lookup=lambda keywords: shop.lookup(keywords, rng, cap=None),
            purchase=self._recorded_purchase,
        )

    def act(self, action: str) -> bool:
        self.reward = 0.0
        self.done = False
        applied = super().act(action)
        if not applied:
            self.reward = 0
        return applied

    def routed_kind(self) -> str:
        kind = super().routed_kind()
        names = {"results": "search_results", "item": "item_page", "sub": "item_sub_page", "end": "done"}
        if kind == "search":
            return kind
        address = f"{names[kind]} {self._address(self._options)()}"
        return next(routed for routed, name in names.items() if name in address)

    def _recorded_purchase(self, product: Product, options: dict[str, str]) -> float:
        self.reward = self._shop.score(product, self._goal, options).score
        self.done = True
        return self.reward
