"""One episode in the shop: goal, steps, reward, end."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from webshop_rl.envs.types import Goal, Page, Step
from webshop_rl.envs.webshop import pages
from webshop_rl.envs.webshop.browser import Browser, View
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.reward import Score, same_kind
from webshop_rl.envs.webshop.shown import ShownProducts, can_be_clicked, option_groups, result_line


@dataclass(frozen=True)
class Rules:
    """What a session needs to know of the configuration (see WebshopConfig)."""

    reward: str
    mode: str
    max_steps: int
    shaping_search: float
    shaping_open: float
    show_attributes: bool


class Store(Protocol):
    """What a session needs of its shop.

    Attributes:
        shown: what pages show of its products.
    """

    shown: ShownProducts

    def goal(self, goal: Goal) -> WebshopGoal: ...

    def lookup(self, keywords: list[str], rng: random.Random) -> Sequence[Product]: ...

    def score(self, product: Product, goal: WebshopGoal, options: Mapping[str, str]) -> Score: ...

    def options_share(self, goal: WebshopGoal, options: Mapping[str, str]) -> float: ...


class WebshopSession:
    """A shopper with one goal at a time; implements envs.types.Session.

    The reward of a step is 0 but for: the purchase (score, or 1 for a full score under "binary"), and
    under "shaped" the first page of results that shows the target and the first opening of the target.
    """

    goal: Goal

    def __init__(self, store: Store, rules: Rules) -> None:
        self._store = store
        self._rules = rules
        self._browser: Browser | None = None

    def reset_to(self, goal: Goal, *, seed: int) -> Page:
        """Start an episode on goal; seed fixes the results of a random search (`search[<r>]`).

        Raises: UserError if the goal is not of this shop.
        """
        self._wanted = self._store.goal(goal)
        self.goal = self._wanted
        rng = random.Random(seed)
        self._purchase: Score | None = None
        self._steps = 0
        self._credited: set[str] = set()
        self._found = False  # the results last shown contain the target
        self._progress: dict[str, float] = {}
        self._kinds: dict[str, float] = {}  # whether products are of the right kind, by ASIN
        self._head = pages.render(pages.instruction_nodes(self._wanted.instruction), "text")
        self._browser = Browser(
            self._wanted.instruction,
            lookup=lambda keywords: self._store.lookup(keywords, rng),
            purchase=self._buy,
            show_attributes=self._rules.show_attributes,
        )
        self._page = self._show(self._browser.view)
        return self._page

    def step(self, action: str) -> Step:
        """Apply one action ("search[words]" or "click[target]"); anything else changes nothing.

        After the end every action leaves the page as it is, with reward 0 and applied False.
        """
        if self._browser is None:
            raise RuntimeError("reset_to comes before step")
        if self._ended():
            return self._step(applied=False)
        self._steps += 1
        applied = self._browser.act(action)
        if not applied:
            return self._step(applied=False)
        self._page = self._show(self._browser.view)
        self._progress = self._rate(self._browser.view)
        parts: dict[str, float] = {}
        reward = 0.0
        if self._purchase is not None:
            score = self._purchase.score
            reward = float(score == 1.0) if self._rules.reward == "binary" else score
            parts |= {name: float(value) for name, value in self._purchase.parts().items()}
        elif self._rules.reward == "shaped":
            parts = self._shaping(self._browser.view)
            reward = sum(parts.values())
        return self._step(applied=True, reward=reward, parts=parts)

    def _show(self, view: View) -> Page:
        """A view as a page: in mode "text" a product's page shows the same whatever is chosen on it."""
        if self._rules.mode != "text" or view.kind not in ("results", "item"):
            return _page(view, self._rules.mode)
        shown = self._store.shown
        if view.kind == "item":
            page = shown.item(view)
            return _changed(page, text=self._with_instruction(page.body), chosen=view.chosen)
        body, lines = shown.results(view)
        return Page(
            text=self._with_instruction(body),
            body=body,
            can_search=False,
            clickables=can_be_clicked(view.clickables),
            products=view.products,
            kind=view.kind,
            results=lines,
            opened=view.opened,
            asins=tuple([product.asin for product in view.shown]),
        )

    def _with_instruction(self, body: str) -> str:
        return f"{self._head}{pages.SEPARATOR}{body}"

    def _buy(self, product: Product, options: dict[str, str]) -> float:
        self._purchase = self._store.score(product, self._wanted, options)
        return self._purchase.score

    def _ended(self) -> bool:
        return self._purchase is not None or self._steps >= self._rules.max_steps

    def _step(self, *, applied: bool, reward: float = 0.0, parts: Mapping[str, float] | None = None) -> Step:
        bought = self._purchase is not None
        return Step(
            page=self._page,
            reward=reward,
            terminated=bought,
            truncated=not bought and self._ended(),
            applied=applied,
            score=self._purchase.score if self._purchase else 0.0,
            parts=parts or {},
            progress=self._progress,
        )

    def _rate(self, view: View) -> dict[str, float]:
        """How near a page is to what the goal asks for; see Step.progress."""
        if view.kind == "results":
            self._found = any(product.asin == self._wanted.asin for product in view.shown)
            return {"search": float(self._found)}
        if view.kind == "sub":  # of the product that was open before
            return self._progress
        if view.kind != "item":
            return {}
        product = view.shown[0]
        is_target = product.asin == self._wanted.asin
        return {
            "search": float(self._found),
            "category": self._is_of_kind(product),
            "product": float(is_target),
            "options": self._store.options_share(self._wanted, view.chosen) if is_target else 0.0,
        }

    def _is_of_kind(self, product: Product) -> float:
        """1 if the product is of the kind that is asked for, which is found out once an episode."""
        known = self._kinds.get(product.asin)
        if known is None:
            known = self._kinds[product.asin] = float(any(same_kind(product, self._wanted)))
        return known

    def _shaping(self, view: View) -> dict[str, float]:
        """The parts of the shaping that this page earns for the first time in the episode."""
        target = self._wanted.asin
        earned: dict[str, float] = {}
        if view.kind == "results" and any(product.asin == target for product in view.shown):
            earned["shaping_search"] = self._rules.shaping_search
        if view.kind == "item" and view.shown and view.shown[0].asin == target:
            earned["shaping_open"] = self._rules.shaping_open
        new = {name: value for name, value in earned.items() if name not in self._credited}
        self._credited |= set(new)
        return new


def _changed(page: Page, **values: Any) -> Page:
    """As dataclasses.replace, whose checks would cost more than the rest of a step."""
    changed = object.__new__(Page)
    changed.__dict__.update(page.__dict__, **values)
    return changed


def _page(view: View, mode: str) -> Page:
    clickables = can_be_clicked(view.clickables)
    item = view.shown[0] if view.kind == "item" else None
    text, body = pages.with_and_without_instruction(view.nodes, mode)
    return Page(
        text=text,
        body=body,
        can_search=view.has_search_bar,
        clickables=clickables,
        products=view.products,
        options=tuple([name for name in clickables if view.clickables[name] is not None]),
        kind=view.kind,
        results=tuple(map(result_line, view.shown)) if view.products else (),
        opened=view.opened,
        title=item.title if item else "",
        price=item.price_tag if item else "",
        option_groups=option_groups(view.clickables, clickables),
        chosen=view.chosen,
        asins=tuple(product.asin for product in view.shown),
    )
