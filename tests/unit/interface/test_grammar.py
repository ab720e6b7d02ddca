"""The grammar of a page, with one token a character so that everything is seen."""

from __future__ import annotations

import pytest

from webshop_rl.envs.words import instruction_words
from webshop_rl.interface.grammar import PageGrammar, Unspellable

END = 0


def letters(text: str) -> list[int]:
    return [ord(c) for c in text]


def grammar(
    words: str = "",
    targets: tuple[str, ...] = (),
    *,
    search: bool = True,
    most: int | None = 8,
    window: bool = False,
) -> PageGrammar:
    given = {"words": words.split(), "targets": targets, "can_search": search}
    return PageGrammar(letters, END, **given, max_words=most, window=window)


def after(g: PageGrammar, text: str) -> str:
    """What may follow a text, as characters; the end token is "$"."""
    state = g.start
    for token in letters(text):
        assert token in g.mask(state).ids, f"{chr(token)!r} of {text!r} is not let through"
        state = g.advance(state, token)
    return "".join(sorted("$" if i == END else chr(i) for i in g.mask(state).ids))


def spelled(g: PageGrammar, text: str) -> str | None:
    state = g.start
    for token in letters(text):
        state = g.advance(state, token)
    return g.action(state)


def test_words_of_the_instruction_in_order_each_once() -> None:
    g = grammar("red shoes now")
    assert after(g, "") == "s"
    assert after(g, "search[") == "nrs"
    assert after(g, "search[red") == " ]"
    assert after(g, "search[red ") == "ns"
    assert after(g, "search[shoes ") == "n"  # red stands before
    assert after(g, "search[now") == "]"  # nothing comes behind
    assert after(g, "search[red]") == "$"
    assert spelled(g, "search[red now]") == "search[red now]"
    assert spelled(g, "search[red now") is None


def test_words_with_a_common_beginning_stay_open_until_they_differ() -> None:
    g = grammar("back backpack pack")
    assert after(g, "search[back") == " ]p"
    assert after(g, "search[backp") == "a"
    assert after(g, "search[back p") == "a"
    assert spelled(g, "search[back pack]") == "search[back pack]"
    assert spelled(g, "search[backpack]") == "search[backpack]"


def test_a_repeated_word_may_be_said_as_often_as_it_stands_there() -> None:
    g = grammar("red or red shoes")
    assert after(g, "search[red ") == "ors"
    assert after(g, "search[red red") == " ]"
    assert after(g, "search[red red ") == "s"
    # "or" is still to be had after the first "red", and is not after the second.
    assert after(g, "search[red or ") == "rs"


def test_no_more_words_than_allowed() -> None:
    g = grammar("a b c", most=2)
    assert after(g, "search[a c") == "]"
    assert after(g, "search[a") == " ]"


def test_a_window_is_of_words_side_by_side() -> None:
    g = grammar("red or red shoes now", window=True, most=3)
    assert after(g, "search[") == "nors"
    assert after(g, "search[or ") == "r"
    assert after(g, "search[shoes now") == "]"
    # Either "red" may be meant until the next word tells.
    assert after(g, "search[red ") == "os"
    assert after(g, "search[red shoes") == " ]"
    assert after(g, "search[or red shoes") == "]"  # three words
    assert spelled(g, "search[or red]") == "search[or red]"
    assert g.spelling("search[red shoes]") == [*letters("search[red shoes]"), END]
    with pytest.raises(Unspellable):
        g.spelling("search[or shoes]")


@pytest.mark.parametrize("window", [False, True])
def test_without_a_limit_all_words_may_be_said(window: bool) -> None:
    words = "a b c d e f g h i j k"
    g = grammar(words, most=None, window=window)
    assert spelled(g, f"search[{words}]") == f"search[{words}]"
    assert g.max_tokens == len(f"search[ {words}]") + 1


def test_clicks_are_what_the_page_offers() -> None:
    g = grammar("red", ("1", "12", "buy now", "size [l]"))
    assert after(g, "") == "cs"
    assert after(g, "click[") == "1bs"
    assert after(g, "click[1") == "2]"
    assert after(g, "click[12]") == "$"
    assert spelled(g, "click[size [l]]") == "click[size [l]]"
    assert spelled(g, "click[1") is None


def test_an_action_that_begins_another_may_end_or_go_on() -> None:
    g = grammar("", ("a", "a]b"), search=False)
    assert after(g, "click[a]") == "$b"
    assert spelled(g, "click[a]") == "click[a]"
    assert spelled(g, "click[a]b]") == "click[a]b]"


def test_no_search_box_no_search() -> None:
    assert after(grammar("red", ("1",), search=False), "") == "c"


def test_a_page_that_offers_nothing_is_answered_by_nothing() -> None:
    g = grammar("", ())
    assert g.mask(g.start).forced == END
    assert g.action(g.start) is None


def test_longest_reply_is_known_beforehand() -> None:
    # "search[" 7, the two longest words with a blank each 5 + 4, "]" 1, end 1
    assert grammar("aaaa bb ccc", ("1",), most=2).max_tokens == 18
    assert grammar("aaaa bb ccc", ("1",), most=2, window=True).max_tokens == 17  # aaaa bb, or bb ccc
    # "click[" 6, "buy now" 7, "]", end
    assert grammar("", ("buy now",)).max_tokens == 15


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("I want (red) Shoes, please!", ["i", "want", "red", "shoes", "please"]),
        ("price lower than $40.00.", ["price", "lower", "than", "$40.00"]),
        ("men's size [xl] 3-piece", ["men's", "size", "xl", "3-piece"]),
        (" ... ", []),
    ],
)
def test_words_of_an_instruction(instruction: str, words: list[str]) -> None:
    assert list(instruction_words(instruction)) == words
