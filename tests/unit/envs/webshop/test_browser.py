"""The page machine: what actions mean on each page, and the awkward cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from webshop_rl.envs.webshop.browser import Browser, parse_action
from webshop_rl.envs.webshop.catalogue import load_products
from webshop_rl.envs.webshop.pages import render
from webshop_rl.envs.webshop.product import Product

Bought = list[tuple[str, dict[str, str]]]


@pytest.fixture(scope="module")
def products(mini_data_dir: Path) -> list[Product]:
    return load_products(mini_data_dir, num_products=None)


@pytest.fixture
def bought() -> Bought:
    return []


@pytest.fixture
def browser(products: list[Product], bought: Bought) -> Browser:
    def purchase(product: Product, options: dict[str, str]) -> float:
        bought.append((product.asin, options))
        return 0.5

    def lookup(keywords: list[str]) -> list[Product]:
        return [product for product in products if keywords[0] in product.title.lower()]

    return Browser("buy", lookup=lookup, purchase=purchase)


@pytest.mark.parametrize(
    ("action", "parsed"),
    [
        ("search[Red Shoes]", ("search", "red shoes")),
        ("click[Buy Now] and more", ("click", "buy now")),
        ("search[a] search[b]", ("search[a] search", "b")),
        ("search[foo[bar]]", ("search[foo", "bar]")),
        ("search[a]]", ("search", "a]")),
        ("search[ ]", ("search", " ")),
        ("search[]", ("search[]", None)),
        ("[x]", ("[x]", None)),
        ("search[x\ny]", ("search[x\ny]", None)),
        ("search[x]\n[y]", ("search", "x")),
        ("", ("", None)),
    ],
)
def test_parse_action(action: str, parsed: tuple[str, str | None]) -> None:
    assert parse_action(action) == parsed


@pytest.mark.parametrize(
    "action",
    [
        "click[search]",
        "click[buy now]",
        "click[]",
        "search[]",
        "Search[mug]",
        " search[mug]",
        "foo",
        "mug",
        "",
    ],
)
def test_what_does_not_apply_changes_nothing(browser: Browser, action: str) -> None:
    before = browser.view
    assert not browser.act(action)
    assert browser.view is before


def test_paging_goes_on_past_the_end(browser: Browser) -> None:
    assert browser.act("search[mug]")
    assert len(browser.view.products) == 10
    assert "< prev" not in browser.view.clickables
    assert browser.act("click[next >]")
    assert browser.view.products == tuple(f"b0000001{number:02d}" for number in range(10, 14))
    assert browser.act("click[Next >]")
    assert browser.view.products == ()
    assert "Page 3 (Total results: 14)" in render(browser.view.nodes, "text")
    assert browser.act("click[< prev]")
    assert len(browser.view.products) == 4


def test_previous_page_from_an_item_and_from_its_sub_page(browser: Browser, bought: Bought) -> None:
    for action in ("search[shoes]", "click[b000000001]", "click[8]", "click[features]"):
        assert browser.act(action)
    assert browser.view.kind == "sub"
    assert list(browser.view.clickables) == ["back to search", "< prev"]
    assert browser.act("click[< prev]")  # keeps the options
    assert browser.view.kind == "item"
    assert browser.act("click[buy now]")
    assert bought == [("B000000001", {"size": "8"})]
    # From an item page back to the same results, and the options are gone.
    for action in ("search[shoes]", "click[b000000001]", "click[8]", "click[< prev]", "click[b000000001]"):
        assert browser.act(action)
    assert browser.act("click[buy now]")
    assert bought[1] == ("B000000001", {})


def test_a_second_value_for_an_option_overwrites(browser: Browser, bought: Bought) -> None:
    for action in ("search[shoes]", "click[B000000001]", "click[8]", "click[red]", "click[9 | 10]"):
        assert browser.act(action)
    browser.act("click[buy now]")
    assert bought == [("B000000001", {"size": "9 | 10", "color": "red"})]


def test_search_works_from_any_page(browser: Browser, bought: Bought) -> None:
    for action in ("search[mug]", "click[b000000100]", "click[description]", "search[shoes]"):
        assert browser.act(action)
    assert browser.view.products == ("b000000001", "b000000002")


def test_opened_products_are_marked_until_back_to_search(browser: Browser) -> None:
    for action in ("search[shoes]", "click[b000000001]", "search[shoes]"):
        browser.act(action)
    assert "[clicked button] B000000001" in render(browser.view.nodes, "text_rich")
    for action in ("click[back to search]", "search[shoes]"):
        browser.act(action)
    assert "[clicked button]" not in render(browser.view.nodes, "text_rich")


@pytest.mark.parametrize("words", ["search_results", "item_page", "item_sub_page", "done"])
def test_a_query_that_looks_like_an_address_leads_nowhere_else(
    browser: Browser, products: list[Product], words: str
) -> None:
    for action in (f"search[shoes {words}]", "click[b000000001]", "click[features]", "click[< prev]"):
        assert browser.act(action)
    assert browser.view.kind == "item"
    assert browser.act("click[< prev]")
    assert browser.view.kind == "results"
    assert "Page 1 " in render(browser.view.nodes, "text")


def test_choices_are_marked_where_the_address_shows_them(browser: Browser) -> None:
    for action in ('search[shoes "red"]', "click[b000000001]", "click[8]"):
        browser.act(action)
    rich = render(browser.view.nodes, "text_rich")
    # The chosen value, and one that the query holds in quotation marks.
    assert "[clicked button] 8 [clicked button_]" in rich
    assert "[clicked button] red [clicked button_]" in rich
    assert "  [button] navy wash [button_]" in rich
