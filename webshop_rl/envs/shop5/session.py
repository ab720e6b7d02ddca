"""One shopper's browser in the five-product shop: search page, results, product page, end."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

from webshop_rl.envs.shop5.catalogue import PRODUCTS, Product, search
from webshop_rl.envs.types import Goal, Page, ResultLine, Step

BUY_NOW = "buy now"
BACK = "back to search"
_ACTION = re.compile(r"\s*(search|click|buy)\[([^\[\]\n]*)\]", re.IGNORECASE)


class Shop5Session:
    """Canonical actions: search[words], click[target], buy[n].

    Results are numbered from 1 as they are listed; click[n] opens result n, and buy[n] ("buy 1")
    buys it without opening it. An action that does not apply leaves the page as it is.

    Args:
        max_steps: actions after which the episode is truncated.
        reward: "shaped" pays the parts below, each at most once; "score" and "binary" pay 1 for
            buying the target (score is 0 or 1 in this shop, so the two are the same).
        parts: shaped reward for "search" (results hold the target), "click" (target opened), "buy".
        shuffle: list results in an order drawn anew for each search.
    """

    goal: Goal

    def __init__(self, *, max_steps: int, reward: str, parts: Mapping[str, float], shuffle: bool) -> None:
        self._max_steps = max_steps
        self._reward = reward
        self._parts = dict(parts)
        self._shuffle = shuffle

    def reset_to(self, goal: Goal, *, seed: int) -> Page:
        """Start an episode; seed fixes the order of every list of results."""
        self.goal = goal
        self._random = random.Random(seed)
        self._steps = 0
        self._paid: set[str] = set()
        self._results: tuple[Product, ...] = ()
        self._item: Product | None = None
        self._terminated = self._truncated = False
        self._score = 0.0
        self._page = self._render("search")
        return self._page

    def step(self, action: str) -> Step:
        """Apply one action; sticky after the end."""
        if self._terminated or self._truncated:
            return self._answer({}, applied=False)
        self._steps += 1
        earned = self._apply(action)
        self._truncated = not self._terminated and self._steps >= self._max_steps
        return self._answer(earned or {}, applied=earned is not None)

    def _answer(self, earned: dict[str, float], *, applied: bool) -> Step:
        reward = sum(earned.values()) if self._reward == "shaped" else float("buy" in earned)
        return Step(self._page, reward, self._terminated, self._truncated, applied, self._score, earned)

    def _apply(self, action: str) -> dict[str, float] | None:
        """Change the state; the shaping parts earned, or None if the action does not apply here."""
        match = _ACTION.match(action)
        if not match:
            return None
        verb, argument = match[1].lower(), " ".join(match[2].lower().split())
        if verb == "search" and argument:
            return self._search(argument)
        if verb == "click" and argument in self._page.clickables:
            return self._click(argument)
        if verb == "buy" and argument in self._page.products:
            return self._buy(self._results[int(argument) - 1])
        return None

    def _search(self, query: str) -> dict[str, float]:
        found = list(search(query))
        if self._shuffle:
            self._random.shuffle(found)
        self._results = tuple(found)
        self._item = None
        self._page = self._render("results")
        return self._pay("search", any(product.asin == self.goal.asin for product in found))

    def _click(self, target: str) -> dict[str, float]:
        if target == BACK:
            self._results = ()
            self._item = None
            self._page = self._render("search")
            return {}
        if target == BUY_NOW:
            assert self._item is not None
            return self._buy(self._item)
        self._item = self._results[int(target) - 1]
        self._page = self._render("item")
        return self._pay("click", self._item.asin == self.goal.asin)

    def _buy(self, product: Product) -> dict[str, float]:
        self._terminated = True
        self._item = product
        self._score = float(product.asin == self.goal.asin)
        self._page = self._render("end")
        return self._pay("buy", self._score == 1.0)

    def _pay(self, part: str, deserved: bool) -> dict[str, float]:
        if not deserved or part in self._paid:
            return {}
        self._paid.add(part)
        return {part: self._parts[part]}

    def _render(self, kind: str) -> Page:
        products: tuple[str, ...] = ()
        clickables: tuple[str, ...] = (BACK,)
        if kind == "search":
            lines, clickables = ["Search"], ()
        elif kind == "results":
            products = tuple(str(i + 1) for i in range(len(self._results)))
            lines = ["Back to Search", f"Results: {len(self._results)}"]
            lines += [f"{i + 1} {p.name} ${p.price}" for i, p in enumerate(self._results)]
            clickables += products
        elif kind == "item":
            assert self._item is not None
            lines = ["Back to Search", f"{self._item.name} ${self._item.price}", "Buy Now"]
            clickables += (BUY_NOW,)
        else:
            assert self._item is not None
            lines, clickables = [f"Bought {self._item.name}"], ()
        body = " [SEP] ".join(lines)
        text = f"Instruction: [SEP] {self.goal.instruction} [SEP] {body}"
        results = self._results if kind == "results" else ()
        item = self._item if kind == "item" else None
        about = () if self._item is None else (self._item,)
        return Page(
            text,
            body,
            can_search=kind != "end",
            clickables=clickables,
            products=products,
            kind=kind,
            results=tuple(
                ResultLine(target, product.name, f"${product.price}")
                for target, product in zip(products, results, strict=True)
            ),
            title=item.name if item else "",
            price=f"${item.price}" if item else "",
            asins=tuple(product.asin for product in results or about),
        )


def furniture() -> list[str]:
    """What pages say besides instructions and products."""
    return ["Instruction:", "Search", "Back to Search", "Results: 0 1 2 3 4 5", "Buy Now", "Bought", "[SEP]"]


def all_texts() -> list[str]:
    """Every text this shop can show, but for instructions."""
    return furniture() + [f"{p.name} ${p.price}" for p in PRODUCTS]
