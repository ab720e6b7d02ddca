"""Scripted policies with one known fault each, and the reason that their episodes should be given.

They know the goal's product and the shop's scores: a fault must be what it is called, and nothing else.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from webshop_rl.envs.shop5.catalogue import PRODUCTS
from webshop_rl.envs.types import Goal, Page
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.evaluation.reasons import Reason

Script = Generator[str, Page, None]
BUY = "click[buy now]"
PREV = "click[< prev]"
BACK = "click[back to search]"


class NotPossible(Exception):
    """This goal has no room for the fault."""


class Scripted:
    """Follows a script; at its end it goes on with the last action."""

    name = "scripted"

    def __init__(self, script: Callable[[Goal], Script]) -> None:
        self._make = script

    def reset(self, goal: Goal, seed: int) -> None:
        self._script = self._make(goal)
        self._begun = False
        self._last = ""

    def act(self, goal: Goal, page: Page) -> str:
        with contextlib.suppress(StopIteration):
            self._last = self._script.send(page) if self._begun else next(self._script)
        self._begun = True
        return self._last

    def took(self, page: Page, action: str) -> None:
        """Nothing to remember."""


class Known:
    """What a script may look up of a shop: WebShop's, or the five products'."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        self.titles = (
            {p.asin: p.title for p in shop.products}
            if isinstance(shop, WebShop)
            else {p.asin: p.name for p in PRODUCTS}
        )

    def query(self, asin: str) -> str:
        return " ".join(self.titles[asin].replace("[", " ").replace("]", " ").split()[:12])

    def listed(self, query: str) -> Sequence[str]:
        if not isinstance(self.shop, WebShop):
            return [p.asin for p in PRODUCTS if set(p.name.split()) & set(query.split())]
        return [p.asin for p in self.shop.lookup(query.lower().split(" "), random.Random(0))][:10]

    def others(self, goal: Goal, *, apart: bool) -> Iterator[str]:
        """Wrong products that are not over the price; `apart`: whose search does not list the right one."""
        for asin in sorted(self.titles, key=lambda a: (hash_of(goal.id + a), a)):
            if asin == goal.asin or self.query(asin) in self.query(goal.asin):
                continue
            if apart and (
                goal.asin in self.listed(self.query(asin)) or asin not in self.listed(self.query(asin))
            ):
                continue
            if self.wrong(goal, asin):
                yield asin

    def wrong(self, goal: Goal, asin: str) -> bool:
        if not isinstance(self.shop, WebShop):
            return True
        score = self.shop.score(self.shop.product(asin), self.shop.goal(goal), {})
        return score.r_price and not (score.type_match.r_type == 1 and score.r_att == 1)

    def reach(self, asin: str) -> Script:
        """Search for a product by its title and open it."""
        if asin not in self.listed(self.query(asin)):
            raise NotPossible
        page = yield f"search[{self.query(asin)}]"
        yield opening(page, asin)


def hash_of(text: str) -> int:
    return random.Random(text).getrandbits(32)


def opening(page: Page, asin: str) -> str:
    return f"click[{page.products[page.asins.index(asin)]}]"


def no_options(known: Known, goal: Any) -> Script:
    if not known.shop.goal(goal).options:
        raise NotPossible
    yield from known.reach(goal.asin)
    yield BUY


def wrong_option(known: Known, goal: Any) -> Script:
    product, wanted = known.shop.product(goal.asin), dict(known.shop.goal(goal).options)
    chosen = dict(wanted)
    for name, values in product.options.items():
        if other := [value for value in values if value not in wanted.values()]:
            chosen[name] = other[0]
            break
    if chosen == wanted or known.shop.score(product, known.shop.goal(goal), chosen).r_option == 1:
        raise NotPossible
    yield from known.reach(goal.asin)
    for value in chosen.values():
        yield f"click[{value}]"
    yield BUY


def over_price(known: Known, goal: Any) -> Script:
    for product in known.shop.products:
        score = known.shop.score(product, known.shop.goal(goal), {})
        if (
            score.type_match.r_type == 1
            and not score.r_price
            and product.asin in known.listed(known.query(product.asin))
        ):
            yield from known.reach(product.asin)
            yield BUY
            return
    raise NotPossible


def wrong_product(known: Known, goal: Any) -> Script:
    """Passes the right one over, in a list that has both."""
    page = yield f"search[{known.query(goal.asin)} {known.query(next(known.others(goal, apart=False)))}]"
    wrong = [asin for asin in page.asins if asin != goal.asin and known.wrong(goal, asin)]
    if goal.asin not in page.asins or not wrong:
        raise NotPossible
    yield opening(page, wrong[0])
    yield BUY


def never_listed_and_bought(known: Known, goal: Any) -> Script:
    yield from known.reach(next(known.others(goal, apart=True)))
    yield BUY


def never_listed(known: Known, goal: Any) -> Script:
    for asin in known.others(goal, apart=True):
        yield from known.reach(asin)
        yield BACK


def never_bought(known: Known, goal: Any) -> Script:
    yield from known.reach(goal.asin)
    yield BACK
    yield from wander(known, goal)


def wander(known: Known, goal: Any) -> Script:
    """Opens one wrong product after the other."""
    while True:
        for number, asin in enumerate(known.others(goal, apart=False)):
            page = yield f"search[{known.query(asin)} {goal.instruction.split()[-1 - number % 5]}]"
            if wrong := [a for a in page.asins if a == asin]:
                yield opening(page, wrong[0])
            yield BACK


def loop(known: Known, goal: Any) -> Script:
    while True:
        yield from known.reach(goal.asin)
        yield BACK


def invalid(known: Known, goal: Any) -> Script:
    yield f"search[{known.query(goal.asin)}]"
    for number in range(99):
        yield ("buy it", "click[nothing]", "", "search")[number % 4]


def out_of_steps(known: Known, goal: Any) -> Script:
    """Finds the product on the last steps."""
    searches = wander(known, goal)
    page = None
    for _ in range(known.shop.max_steps - 2):
        page = yield (next(searches) if page is None else searches.send(page))
    yield from known.reach(goal.asin)


FAULTS: dict[str, tuple[Callable[[Known, Any], Script], Reason]] = {
    "no_options": (no_options, Reason.NO_OPTIONS),
    "wrong_option": (wrong_option, Reason.WRONG_OPTION),
    "over_price": (over_price, Reason.OVER_PRICE),
    "wrong_product": (wrong_product, Reason.WRONG_PRODUCT),
    "never_listed_and_bought": (never_listed_and_bought, Reason.NEVER_LISTED),
    "never_listed": (never_listed, Reason.NEVER_LISTED),
    "never_bought": (never_bought, Reason.NEVER_BOUGHT),
    "loop": (loop, Reason.LOOP),
    "invalid": (invalid, Reason.INVALID),
    "out_of_steps": (out_of_steps, Reason.OUT_OF_STEPS),
}
IN_SHOP5 = ("wrong_product", "never_listed_and_bought", "never_bought", "loop", "invalid", "out_of_steps")
