"""What the policy reads."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.envs.types import Goal, Page
from webshop_rl.interface.prompts import Prompter
from webshop_rl.interface.views import View
from webshop_rl.models.chat_codec import ChatCodec

PAGE = Page(
    text="Instruction: [SEP] a lamp [SEP] Results [SEP] B07AAA [SEP] lamp [SEP] b07bbb [SEP] desk",
    body="Results [SEP] B07AAA [SEP] lamp [SEP] b07bbb [SEP] desk",
    can_search=True,
    clickables=("back to search", "b07aaa", "b07bbb"),
    products=("b07aaa", "b07bbb"),
    kind="results",
)
GOAL = Goal("g", "b07aaa", "a lamp")


@pytest.fixture(scope="module")
def codec() -> ChatCodec:
    return ChatCodec(small_tokenizer())


Show = Callable[..., View]


@pytest.fixture
def show(codec: ChatCodec) -> Show:
    def show(
        product_labels: str = "asin", *, page: Page = PAGE, first: bool = False, **options: bool
    ) -> View:
        prompter = Prompter(codec, product_labels, **options)
        return prompter.first_view(GOAL, page) if first else prompter.view(page, {}, 2)

    return show


def test_the_instruction_is_shown_where_a_transcript_starts(show: Show) -> None:
    assert show(first=True).text == PAGE.text
    assert show().text == PAGE.body


def test_products_by_name_or_by_rank(show: Show) -> None:
    assert show().labels == {name: name for name in PAGE.clickables}
    ranked = show("rank")
    assert ranked.labels == {"back to search": "back to search", "item 1": "b07aaa", "item 2": "b07bbb"}
    assert ranked.text == "Results [SEP] item 1 [SEP] lamp [SEP] item 2 [SEP] desk"


def test_results_that_are_numbered_already_keep_their_numbers(show: Show) -> None:
    numbered = Page("1 lamp", "1 lamp", True, ("back to search", "1"), ("1",), (), "results")
    view = show("rank", page=numbered)
    assert view.labels == {"back to search": "back to search", "1": "1"}
    # A product whose name is all digits is no rank.
    digits = Page("0316769487", "0316769487", True, ("0316769487",), ("0316769487",), (), "results")
    view = show("rank", page=digits)
    assert view.labels == {"item 1": "0316769487"}


def test_admissible_actions_are_listed_if_asked_for(show: Show) -> None:
    listed = show("rank", list_actions=True).text.splitlines()[-1]
    assert listed == "Actions: search[words], click[back to search], click[item 1], click[item 2]"


def test_advice_thinking_and_examples_stand_in_the_opening(codec: ChatCodec) -> None:
    def opening(**options: object) -> str:
        prompter = Prompter(codec, **options)  # type: ignore[arg-type]
        return codec.decode(prompter.opening(prompter.first_view(GOAL, PAGE)))

    assert "exactly one action" in opening()
    assert PAGE.text in opening()
    assert "<think>" not in opening()
    assert "<think>" in opening(think=True)
    assert opening(few_shot=1).count("Instruction: i ") == 1
    assert opening(few_shot=2).count("Instruction: i ") == 2
    assert "click[b07xyz1234]" in opening(few_shot=2)
    assert "click[item 1]" in opening(few_shot=2, product_labels="rank")


def test_a_long_page_is_cut_at_its_end_and_says_so(codec: ChatCodec) -> None:
    long = Page("", " ".join(f"w{i:03d}" for i in range(200)), True, ("buy now",), (), (), "item")
    prompter = Prompter(codec, max_page_tokens=50)
    tokens = prompter.page(prompter.view(long, {}, 2), reply_ended=True)
    text = codec.decode(tokens)
    assert " ..." in text
    assert "w000 w001" in text
    frame = len(prompter.page(prompter.view(Page("", "", True, ()), {}, 2), reply_ended=True))
    assert 40 < len(tokens) - frame <= 50 + len(codec.encode(" ..."))
    # What is cut off can still be clicked.
    assert "buy now" in prompter.view(long, {}, 2).labels
    short = Prompter(codec, max_page_tokens=10_000)
    assert "..." not in codec.decode(short.page(short.view(long, {}, 2), reply_ended=True))


def test_a_page_that_just_fits_is_left_whole(codec: ChatCodec) -> None:
    body = "red lamp " * 5 + "end"
    page = Page("", body, True, ())
    exact = Prompter(codec, max_page_tokens=len(codec.encode(body)))
    assert "..." not in codec.decode(exact.page(exact.view(page, {}, 2), reply_ended=True))
    less = Prompter(codec, max_page_tokens=len(codec.encode(body)) - 1)
    assert "lamp ..." in codec.decode(less.page(less.view(page, {}, 2), reply_ended=True))
