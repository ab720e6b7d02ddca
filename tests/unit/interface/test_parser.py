"""Free text to actions: what people and models write."""

from __future__ import annotations

import pytest

from webshop_rl.interface.parser import parse_action

RESULTS = {"back to search": "back to search", "1": "1", "2": "2"}
RANKED = {"back to search": "back to search", "item 1": "b07aaa", "item 2": "b07bbb"}
ITEM = {"buy now": "buy now", "back to search": "back to search", "red": "red", "size [l]": "size [l]"}


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("search[red shoes]", "search[red shoes]"),
        ("Search [ Red  Shoes ]", "search[red shoes]"),
        ("search red shoes", "search[red shoes]"),
        ("search for red shoes.", "search[red shoes]"),
        ("Search: red shoes", "search[red shoes]"),
        ("I'd like to search 'red shoes'!", "search[red shoes]"),
        ("search[red [dark] shoes]", "search[red dark shoes]"),
        ("click[1]", "click[1]"),
        ("click 1", "click[1]"),
        ("CLICK ON 2.", "click[2]"),
        ("select 2", "click[2]"),
        ("open 1\nbecause it is red", "click[1]"),
        ("I choose 2", "click[2]"),
        ("click[Back to Search]", "click[back to search]"),
        ("click [ back to  search ]", "click[back to search]"),
        ("buy 1", "buy[1]"),
        ("buy[2]", "buy[2]"),
        ("First I click[9], no: click[2]", "click[2]"),  # the first that the page offers
        ("<think>I could click[1]</think> click[2]", "click[2]"),
        ("a </think> b </think> click[1]", "click[1]"),
        ("", ""),
        ("hello", ""),
        ("search[]", ""),
        ("search", ""),
        ("click[9]", ""),
        ("click", ""),
        ("click[1", ""),  # cut
        ("buy now", ""),  # not on this page
        ("buy[now]", ""),
        ("research[red]", ""),  # no verb of ours
        ("<think>click[1]</think>", ""),
    ],
)
def test_on_a_page_of_results(reply: str, action: str) -> None:
    assert parse_action(reply, RESULTS, can_search=True) == action


@pytest.mark.parametrize(
    ("reply", "action"),
    [
        ("click[buy now]", "click[buy now]"),
        ("Buy Now", "click[buy now]"),
        ("buy it", "click[buy now]"),
        ("I will click on 'Buy Now'.", "click[buy now]"),
        ("buy", "click[buy now]"),
        ("buy[now]", "click[buy now]"),
        ("click[size [l]]", "click[size [l]]"),
        ("click[RED]", "click[red]"),
        ("buy 1", ""),
        ("search[shoes]", ""),
        ("search shoes", ""),
    ],
)
def test_on_a_product_page_without_a_search_box(reply: str, action: str) -> None:
    assert parse_action(reply, ITEM, can_search=False) == action


def test_labels_are_turned_into_the_names_of_the_shop() -> None:
    assert parse_action("click[item 2]", RANKED, can_search=True) == "click[b07bbb]"
    assert parse_action("click item 1", RANKED, can_search=True) == "click[b07aaa]"
    assert parse_action("click[b07aaa]", RANKED, can_search=True) == ""  # never shown


def test_blanks_of_a_word_level_tokenizer_do_not_matter() -> None:
    labels = {"3-piece (large)": "3-piece (large)"}
    assert parse_action("click [ 3 - piece ( large ) ]", labels, can_search=False) == "click[3-piece (large)]"
