"""The parser takes any text, quickly, and gives an action of the page or none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webshop_rl.interface.parser import parse_action

PIECES = [
    "search", "click", "buy", "select", "open", "now", "[", "]", " ", "\n", ":", "for", "on", "red", "1",
    "buy now", "size [l]", "</think>", "<think>", ".", "'", "item 1", "\u2028", "\x00", "İ", "ſearch",
]  # fmt: skip
texts = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(PIECES), max_size=20).map("".join))
labels = st.dictionaries(
    st.sampled_from(["1", "item 1", "buy now", "size [l]", "red", ""]),
    st.sampled_from(["b07", "buy now", "1"]),
)


@settings(max_examples=400, deadline=None)
@given(texts, labels, st.booleans())
def test_any_text_is_an_action_of_the_page_or_none(text: str, shown: dict[str, str], search: bool) -> None:
    action = parse_action(text, shown, can_search=search)
    if action.startswith("search["):
        assert search
        assert re.fullmatch(r"search\[[^\[\]\n]+\]", action)
        assert " ".join(action.split()) == action == action.lower()
    elif action:
        assert re.fullmatch(r"(click|buy)\[.*\]", action)
        assert action.partition("[")[2][:-1] in shown.values()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("text", ["search[", "search ", "[", "click[[", "buy ", "</think", "search[[a]"])
def test_time_grows_with_the_length_of_nonsense_and_no_faster(text: str) -> None:
    """A second or less; were it to grow with the square of the length, hours."""
    for nonsense in (text * 100_000, text + text[-1] * 1_000_000):
        parse_action(nonsense, {"1": "1"}, can_search=True)
