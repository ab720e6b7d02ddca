"""Compact pages: budgets, references to pages shown before, and nothing hidden without a mark."""

from __future__ import annotations

import functools
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.shop5_parts import composed
from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.config.groups import ViewConfig
from webshop_rl.config.load import as_typed
from webshop_rl.envs.scripted import RandomPolicy, run_episode
from webshop_rl.envs.types import Goal, Page, ResultLine
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.interface.codec import Codec
from webshop_rl.interface.prompts import Prompter
from webshop_rl.interface.views import distinct_words, identity
from webshop_rl.models.chat_codec import ChatCodec
from webshop_rl.models.tiny_codec import TinyCodec

GOAL = Goal("g", "a", "Find me red shoes with color: red, and price lower than 40.00 dollars")
ITEM = Page(
    text="",
    body="Back to Search [SEP] < Prev [SEP] size [SEP] 8 [SEP] 9 | 10 [SEP] Red Shoes [SEP] Price: $45.0",
    can_search=False,
    clickables=("back to search", "< prev", "description", "buy now", "8", "9 | 10", "red"),
    options=("8", "9 | 10", "red"),
    kind="item",
    title="Red Running Shoes, for Men",
    price="$45.0",
    option_groups={"size": ("8", "9 | 10"), "color": ("red",)},
)
OTHER = replace(ITEM, title="Blue Running Shoes")
RESULTS = Page(
    text="",
    body="Back to Search [SEP] Page 1",
    can_search=False,
    clickables=("back to search", "next >", "b1", "b2"),
    products=("b1", "b2"),
    kind="results",
    results=(
        ResultLine("b1", "Men's Red Shoes", "$45.0"),
        ResultLine("b2", "Men's Blue Shoes, new", "$9.05"),
    ),
)


@pytest.fixture(scope="module", params=["tiny", "chat"])
def codec(request: pytest.FixtureRequest) -> Codec:
    if request.param == "chat":
        return ChatCodec(small_tokenizer())
    return TinyCodec([ITEM.body, ITEM.title, OTHER.title, GOAL.instruction, RESULTS.results[1].title], 300)


@functools.cache
def _configured() -> ViewConfig:
    return as_typed(composed()).view


def budgets(**changes: object) -> ViewConfig:
    """The budgets of conf/config.yaml, but for titles in tokens that may be single letters."""
    roomy: dict[str, object] = {"pages": "compact", "title_tokens": 64, "result_title_tokens": 20}
    return replace(_configured(), **{**roomy, **changes})  # type: ignore[arg-type]


def compact(codec: Codec, **changes: object) -> Prompter:
    return Prompter(codec, "rank", compact=budgets(**changes))


def transcript(prompter: Prompter, *pages: Page) -> list[str]:
    shown = {}
    texts = []
    for page in pages:
        texts.append(prompter.view(page, shown, 2).text)
        shown[page.kind] = identity(page)
    return texts


def test_an_item_page_has_options_first_then_title_and_price(codec: Codec) -> None:
    assert compact(codec).view(ITEM, {}, 2).text.splitlines() == [
        "size: 8; 9 | 10",
        "color: red",
        "Red Running Shoes for Men",
        "$45",
        "back to search; < prev; description; buy now",
    ]
    assert "< prev" not in compact(codec, buttons=False).view(ITEM, {}, 2).text


def test_the_number_of_the_turn_stands_last_on_pages_shown_before_too(codec: Codec) -> None:
    prompter = compact(codec, turn_numbers=True)
    assert prompter.view(ITEM, {}, 12).text.splitlines()[-2:] == [
        "back to search; < prev; description; buy now",
        "turn 12",
    ]
    assert prompter.view(ITEM, {"item": identity(ITEM)}, 3).text == "same item\nturn 3"
    assert prompter.first_view(GOAL, ITEM, turn=4).text.endswith("turn 4")


def test_a_result_is_one_line_of_words_that_tell_it_apart(codec: Codec) -> None:
    lines = compact(codec, buttons=False).view(RESULTS, {}, 2).text.splitlines()
    assert lines == ["item 1 Red $45", "item 2 Blue new $9.05"]
    bare = compact(codec, buttons=False, result_prices=False, result_title_tokens=0).view(RESULTS, {}, 2)
    assert bare.text.splitlines() == ["item 1", "item 2"]
    assert (bare.labels["item 1"], bare.labels["item 2"], bare.labels["next >"]) == ("b1", "b2", "next >")
    assert compact(codec).view(replace(RESULTS, results=(), products=()), {}, 2).text.startswith("no results")


def test_words_that_all_titles_share_are_skipped_unless_nothing_is_left() -> None:
    assert distinct_words(["Red Shoes", "Shoes", "blue shoes, big"]) == [["Red"], ["Shoes"], ["blue", "big"]]
    assert distinct_words(["Red Shoes"]) == [["Red", "Shoes"]]


def test_a_page_shown_before_is_named_with_what_is_chosen(codec: Codec) -> None:
    chosen = replace(ITEM, chosen={"color": "red", "size": "9 | 10"})
    texts = transcript(compact(codec), RESULTS, ITEM, chosen, RESULTS, ITEM)
    assert texts[2:] == ["same item\nchosen: red; 9 | 10", "same results", "same item"]


def test_options_without_a_choice_are_named_once_there_is_one(codec: Codec) -> None:
    half = replace(ITEM, chosen={"color": "red"})
    assert transcript(compact(codec), ITEM, half)[1] == "same item\nchosen: red\nleft: size"
    assert "left" not in transcript(compact(codec), ITEM)[0]


def test_a_reference_is_to_the_last_page_of_its_kind_alone(codec: Codec) -> None:
    texts = transcript(compact(codec), ITEM, OTHER, ITEM)
    assert "same" not in "".join(texts)
    assert texts[0] == texts[2] != texts[1]
    second = replace(RESULTS, results=RESULTS.results[::-1])
    assert "same" not in "".join(transcript(compact(codec), RESULTS, second, RESULTS))


def test_what_was_opened_is_named_with_the_results_and_with_a_reference_to_them(codec: Codec) -> None:
    one, both = replace(RESULTS, opened=("b2",)), replace(RESULTS, opened=("b2", "b1"))
    first, again, later = transcript(compact(codec), RESULTS, one, both)
    assert "opened" not in first
    assert again == "same results\nopened: item 2"
    assert later == "same results\nopened: item 1; item 2"
    whole = transcript(compact(codec), one)[0]
    assert whole.split("\n")[-2 if "back to search" in whole else -1] == "opened: item 2"


def test_what_is_chosen_stands_on_a_page_that_is_shown_whole(codec: Codec) -> None:
    assert "chosen: red" in compact(codec).first_view(GOAL, replace(ITEM, chosen={"color": "red"})).text


def test_a_transcript_opens_with_the_instruction(codec: Codec) -> None:
    page = Page("", "WebShop [SEP] Search", True, ())
    text = compact(codec).first_view(GOAL, page).text
    assert text == f"instruction: {GOAL.instruction}\nWebShop Search"


def test_a_long_instruction_loses_words_in_its_middle(codec: Codec) -> None:
    wish = replace(GOAL, instruction=" ".join(f"w{i}" for i in range(60)))
    page = Page("", "Search", True, ())
    text = compact(codec, instruction_tokens=40).first_view(wish, page).text.splitlines()[0]
    assert re.fullmatch(r"instruction: w0 w1 .*\.\.\. .* w58 w59", text)
    assert 30 < len(codec.encode(text.removeprefix("instruction: "))) <= 40


@pytest.mark.parametrize("limit", [1000, 200, 80, 48])
def test_options_beyond_the_budget_are_cut_alike_and_marked(codec: Codec, limit: int) -> None:
    """Whichever the goal asks for: no value is favoured, and none is left out without a mark."""
    groups = {"color": tuple(f"shiny blue red {n}" for n in range(30)), "size": ("8", "9 | 10")}
    options = tuple(itertools.chain(*groups.values()))
    page = replace(ITEM, option_groups=groups, options=options, clickables=(*ITEM.clickables, *options))
    view = compact(codec, option_tokens=limit, buttons=False).view(page, {}, 2)
    lines = view.text.splitlines()[:2]
    assert len(codec.encode("\n".join(lines))) <= limit
    colors = lines[0].partition(": ")[2].split("; ")
    whole = len(codec.encode(f"color: {'; '.join(groups['color'])}\nsize: 8; 9 | 10"))
    if limit >= whole:
        assert lines == [f"color: {'; '.join(groups['color'])}", "size: 8; 9 | 10"]
    else:
        assert [line.partition(":")[0] for line in lines] == ["color (cut)", "size (cut)"]
        left_out = re.fullmatch(r"\+(\d+) more", colors[-1])
        if limit != 80:  # values are left out only where one token of each is too much
            assert (left_out is not None) == (limit == 48)
        kept = colors[:-1] if left_out else colors
        assert len(kept) + int(left_out[1] if left_out else 0) == 30
        for value, full in zip(kept, options, strict=False):
            assert value
            assert full.replace(" ", "").startswith(value.replace(" ", ""))
        lengths = {len(codec.encode(value)) for value in kept}
        assert max(lengths) - min(lengths) <= 1
    # All of them can be clicked, by their whole name.
    assert {view.labels[option] for option in options} == set(options)


def test_sub_pages_are_cut_to_their_budget(codec: Codec) -> None:
    body = "Back to Search [SEP] < Prev [SEP] red shoes " + "red " * 90
    page = Page("", body, False, ("back to search", "< prev"), kind="sub")
    text = compact(codec, sub_page_tokens=20, buttons=False).view(page, {}, 2).text
    assert text.startswith("red shoes red")
    assert text.endswith("...")
    assert len(codec.encode(text.removesuffix(" ..."))) <= 20
    assert transcript(compact(codec), page, page)[1] == "same page"


@pytest.mark.parametrize("mode", ["text", "text_rich"])
@pytest.mark.parametrize("pages", ["full", "compact"])
def test_whatever_is_shown_to_be_clicked_can_be(mini_data_dir: Path, mode: str, pages: str) -> None:
    shop = WebShop(data_dir=str(mini_data_dir), num_products=None, split="none", mode=mode)
    codec = TinyCodec(shop.texts(), 4096)
    prompter = Prompter(codec, "rank", compact=budgets() if pages == "compact" else None)
    clicked = set[str]()
    for seed, goal in enumerate(shop.goals("all")):
        record = run_episode(shop.session(), RandomPolicy(), goal, seed)
        for at, page in enumerate(record.pages[:-1]):
            for target in set(prompter.view(page, {}, 2).labels.values()) - clicked:
                session = shop.session()
                session.reset_to(goal, seed=seed)
                for action in record.actions[:at]:
                    session.step(action)
                assert session.step(f"click[{target}]").applied
                clicked.add(target)
    assert {"< prev", "next >", "buy now", "features", "red", "9 | 10"} <= clicked


def test_a_transcript_of_compact_pages_only_grows(mini_data_dir: Path) -> None:
    """What the policy has read stays as it was: pages already shown never change what stands before them."""
    shop = WebShop(data_dir=str(mini_data_dir), num_products=None, split="none")
    prompter = compact(TinyCodec(shop.texts(), 4096))
    for seed, goal in enumerate(shop.goals("all")):
        record = run_episode(shop.session(), RandomPolicy(), goal, seed)
        whole = transcript(prompter, *record.pages[:-1])
        for end in range(1, len(whole)):
            assert transcript(prompter, *record.pages[:end]) == whole[:end]
