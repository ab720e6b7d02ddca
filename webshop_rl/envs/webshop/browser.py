"""One shopper's way through the pages: which page is shown, and what an action makes of it.

Everything that the original decides by the page's address is decided by the page itself, so a query
that looks like an address leads nowhere else. The browser knows no reward and no end: the page after a
purchase is a page like the others, and a session above it stops there.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from webshop_rl.envs.webshop import pages
from webshop_rl.envs.webshop.pages import Node, Role
from webshop_rl.envs.webshop.product import Product

RESULTS_PER_PAGE = 10
_ACTION = re.compile(r"(.+)\[(.+)\]")

Lookup = Callable[[list[str]], Sequence[Product]]
Purchase = Callable[[Product, dict[str, str]], float]


@dataclass
class View:
    """The page that is shown.

    Attributes:
        kind: "search", "results", "item", "sub" or "end".
        write: gives its visible texts.
        clickables: target to option name (None for buttons and products), in the original's order.
        products: the clickables that open a product, in order.
        shown: the products on a page of results; the one that any other page is about.
        chosen: option name to the value that a purchase now would take.
        opened: the subset of `products` that are marked as opened.
        number: of a page of results, from 1.
        total: number of results on all pages.
    """

    kind: str
    write: Callable[[], list[Node]]
    clickables: dict[str, str | None] = field(default_factory=dict)
    products: tuple[str, ...] = ()
    shown: tuple[Product, ...] = ()
    chosen: Mapping[str, str] = field(default_factory=dict)
    opened: tuple[str, ...] = ()
    number: int = 0
    total: int = 0

    @cached_property
    def nodes(self) -> list[Node]:
        """Its visible texts, written when they are first asked for."""
        return self.write()

    @property
    def has_search_bar(self) -> bool:
        return self.kind == "search"


def parse_action(action: str) -> tuple[str, str | None]:
    """Verb and lower-cased argument of "verb[argument]"; argument None if the action has another form.

    As in the original: text after the last "]" is ignored, the argument starts at the last "[", neither
    part may be empty or hold a line break.
    """
    match = _ACTION.match(action)
    return (match[1], match[2].lower()) if match else (action, None)


class Browser:
    """The page machine.

    Args:
        instruction: printed on every page.
        lookup: from the words of a search (split at single spaces) to the products found.
        purchase: called with a purchase (product, options); gives the score that the end page prints.
        show_attributes: whether the sub-page "Attributes" is offered.
    """

    def __init__(
        self, instruction: str, *, lookup: Lookup, purchase: Purchase, show_attributes: bool = False
    ) -> None:
        self._instruction = instruction
        self._lookup = lookup
        self._purchase = purchase
        self._show_attributes = show_attributes
        self._keywords: list[str] = []
        self._page = 1
        self._product: Product | None = None
        self._options: dict[str, str] = {}
        self._opened: set[str] = set()
        self._item_clickables: dict[str, dict[str, str | None]] = {}
        self.view = self._search_page()

    def act(self, action: str) -> bool:
        """Apply an action; False if it does not apply here, and then nothing changes."""
        verb, argument = parse_action(action)
        if argument is None:
            return False
        if verb == "search":
            self._keywords = argument.split(" ")
            self.view = self._results_page(1)
            return True
        if verb == "click" and argument in self.view.clickables and argument != pages.SEARCH.lower():
            self._click(argument)
            return True
        return False

    def routed_kind(self) -> str:
        """The kind of page that decides what "next >" and "< prev" mean."""
        return self.view.kind

    def _click(self, target: str) -> None:
        kind = self.routed_kind()
        if target == pages.BUY_NOW.lower():
            self.view = self._end_page()
        elif target == pages.BACK_TO_SEARCH.lower():
            self.view = self._search_page()
        elif target == pages.NEXT_PAGE.lower() and kind == "results":
            self.view = self._results_page(self._page + 1)
        elif target == pages.PREVIOUS_PAGE.lower() and kind in ("results", "item"):
            self.view = self._results_page(self._page - (kind == "results"))
        elif target in _SUB_PAGES:
            self.view = self._sub_page(_SUB_PAGES[target])
        else:
            self._choose(target)
            self.view = self._item_page()

    def _choose(self, target: str) -> None:
        """Open the product, or choose the option, that the target names; "< prev" is neither."""
        if target in self.view.products:
            self._product = next(item for item in self.view.shown if item.asin.lower() == target)
            self._opened.add(self._product.asin)
        elif (name := self.view.clickables[target]) is not None:
            self._options[name] = target

    def _search_page(self) -> View:
        self._product = None
        self._options = {}
        self._opened = set()
        return _view("search", pages.search_page(self._instruction))

    def _results_page(self, page: int) -> View:
        self._page = page
        self._product = None
        self._options = {}
        found = self._lookup(self._keywords)
        shown = tuple(found[(page - 1) * RESULTS_PER_PAGE : page * RESULTS_PER_PAGE])
        total = len(found)
        opened = frozenset(self._opened)
        links = tuple([item.asin.lower() for item in shown])

        def write() -> list[Node]:
            return pages.results_page(self._instruction, shown, page=page, total=total, opened=opened)

        return View(
            "results",
            write,
            dict.fromkeys((*_LATER_BUTTONS, *links) if page > 1 else (*_FIRST_BUTTONS, *links)),
            links,
            shown,
            opened=tuple([link for link, item in zip(links, shown, strict=True) if item.asin in opened]),
            number=page,
            total=total,
        )

    def _item_page(self) -> View:
        product = self._shown_product()
        address = self._address(chosen := dict(self._options))

        def write() -> list[Node]:
            values = itertools.chain.from_iterable(product.options.values())
            quoted = address()
            clicked = {value for value in values if f'"{value}"' in quoted}
            return pages.item_page(
                self._instruction, product, clicked=clicked, show_attributes=self._show_attributes
            )

        return View("item", write, self._clickables(product), shown=(product,), chosen=chosen)

    def _clickables(self, product: Product) -> dict[str, str | None]:
        """Those of a product's page, the same whatever is chosen on it."""
        known = self._item_clickables.get(product.asin)
        if known is None:
            nodes = pages.item_buttons(show_attributes=self._show_attributes)
            known = _buttons(nodes)
            known |= {v: name for name, values in product.options.items() for v in values}
            self._item_clickables[product.asin] = known
        return known

    def _sub_page(self, name: str) -> View:
        nodes = pages.sub_page(self._instruction, self._shown_product(), name)
        return _view("sub", nodes, self._shown_product())

    def _end_page(self) -> View:
        product, options = self._shown_product(), dict(self._options)
        score = self._purchase(product, options)
        return View("end", lambda: pages.end_page(product.asin, options, score), shown=(product,))

    def _shown_product(self) -> Product:
        if self._product is None:
            raise RuntimeError("no product is shown on this page")
        return self._product

    def _address(self, options: Mapping[str, str]) -> Callable[[], str]:
        """Gives the part of the original's page address in which it looks for chosen option values, quoted.

        It holds the search words and the chosen names and values as JSON, so a value with a quotation
        mark or a letter beyond ASCII never looks chosen, and one quoted in the query does.
        """
        keywords = self._keywords
        page = self._page
        return lambda: f"{'+'.join(keywords)}/{page}/{json.dumps(options)}"


_FIRST_BUTTONS = (pages.BACK_TO_SEARCH.lower(), pages.NEXT_PAGE.lower())
_LATER_BUTTONS = (_FIRST_BUTTONS[0], pages.PREVIOUS_PAGE.lower(), _FIRST_BUTTONS[1])
_SUB_PAGES = {name.lower(): name for name in pages.SUB_PAGES}


def _buttons(nodes: Sequence[Node]) -> dict[str, str | None]:
    return {node.text.lower(): None for node in nodes if node.role is Role.BUTTON}


def _view(kind: str, nodes: list[Node], *shown: Product) -> View:
    return View(kind, lambda: nodes, _buttons(nodes), shown=shown)
