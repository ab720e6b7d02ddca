"""What pages in mode "text" show of products, whatever the goal: written once for those seen lately."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from webshop_rl.envs.types import Page, ResultLine
from webshop_rl.envs.webshop import pages
from webshop_rl.envs.webshop.browser import View
from webshop_rl.envs.webshop.product import Product

PRODUCTS_KEPT = 2048

_SEARCH = pages.SEARCH.lower()

T = TypeVar("T")


class ShownProducts:
    """Lines of results, and pages of products without an instruction.

    Args:
        show_attributes: whether the sub-page "Attributes" is offered.
    """

    def __init__(self, *, show_attributes: bool) -> None:
        self._show_attributes = show_attributes
        self._lines: dict[str, tuple[ResultLine, str]] = {}
        self._pages: dict[str, Page] = {}

    def results(self, view: View) -> tuple[str, tuple[ResultLine, ...]]:
        """A page of results without the instruction, and its lines."""
        lines = [_kept(self._lines, product, _line) for product in view.shown]
        texts = [_results_head(view.number, view.total), *(text for _, text in lines if text)]
        return pages.SEPARATOR.join(texts), tuple([line for line, _ in lines])

    def item(self, view: View) -> Page:
        """The page of a product: text and body are without the instruction, nothing is chosen."""
        return _kept(self._pages, view.shown[0], functools.partial(self._page, view.clickables))

    def _page(self, all_clickables: Mapping[str, str | None], product: Product) -> Page:
        nodes = pages.item_page("", product, clicked=set(), show_attributes=self._show_attributes)
        body = pages.render(pages.without_instruction(nodes), "text")
        clickables = can_be_clicked(all_clickables)
        return Page(
            text=body,
            body=body,
            can_search=False,
            clickables=clickables,
            options=tuple([name for name in clickables if all_clickables[name] is not None]),
            kind="item",
            title=product.title,
            price=product.price_tag,
            option_groups=option_groups(all_clickables, clickables),
            asins=(product.asin,),
        )


def can_be_clicked(names: Mapping[str, str | None]) -> tuple[str, ...]:
    """Without the search button, which does nothing without words, and values that no action can name."""
    return tuple(
        [
            name
            for name in names
            if name and "[" not in name and "\n" not in name and name == name.lower() and name != _SEARCH
        ]
    )


def option_groups(names: Mapping[str, str | None], clickables: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Values by the option that a click on them sets: a value of two options sets the last of them."""
    groups: dict[str, list[str]] = {}
    for value in clickables:
        if (name := names[value]) is not None:
            groups.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in groups.items()}


def result_line(product: Product) -> ResultLine:
    """What a list of results says of a product."""
    return ResultLine(product.asin.lower(), product.title, product.price_tag)


def _line(product: Product) -> tuple[ResultLine, str]:
    nodes = pages.result_nodes(product, clicked=False)
    return result_line(product), pages.render(nodes, "text")


@functools.lru_cache
def _results_head(number: int, total: int) -> str:
    nodes = pages.results_page("", (), page=number, total=total, opened=set())
    return pages.render(pages.without_instruction(nodes), "text")


def _kept(known: dict[str, T], product: Product, make: Callable[[Product], T]) -> T:
    """What is known of a product, or is made now and kept while there is room."""
    found = known.get(product.asin)
    if found is None:
        if len(known) >= PRODUCTS_KEPT:
            known.clear()
        found = make(product)
        known[product.asin] = found
    return found
