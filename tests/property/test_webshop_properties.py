"""What holds for any text and any course of an episode."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from webshop_rl.envs.types import Page, Step
from webshop_rl.envs.webshop.analysis import tokens, words
from webshop_rl.envs.webshop.browser import parse_action
from webshop_rl.envs.webshop.porter import stem
from webshop_rl.envs.webshop.shop import WebShop

# Parts of actions, valid and not, so that random sequences get somewhere.
PIECES = st.sampled_from(
    [
        "search[shoes]",
        "search[<r>]",
        "search[<c>]",
        "search[mug]",
        "click[b000000001]",
        "click[b000000105]",
        "click[next >]",
        "click[< prev]",
        "click[back to search]",
        "click[8]",
        "click[red]",
        "click[features]",
        "click[reviews]",
        "click[buy now]",
        "click[search]",
    ]
)
ACTIONS = st.lists(
    PIECES | st.text(max_size=12) | st.builds("search[{}]".format, st.text(max_size=8)), max_size=18
)
UNSAFE_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def shop(mini_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(mini_data_dir), num_products=None, split="none", reward="shaped")


def _play(shop: WebShop, actions: list[str], goal_index: int, seed: int) -> tuple[Page, list[Step]]:
    session = shop.session()
    first = session.reset_to(shop.goals("all")[goal_index], seed=seed)
    return first, [session.step(action) for action in actions]


@UNSAFE_FIXTURES
@given(ACTIONS, st.integers(0, 6), st.integers(0, 3))
def test_an_episode_replays_and_keeps_its_promises(
    shop: WebShop, actions: list[str], goal_index: int, seed: int
) -> None:
    first, steps = _play(shop, actions, goal_index, seed)
    assert (first, steps) == _play(shop, actions, goal_index, seed)
    page, ended = first, False
    for number, step in enumerate(steps, start=1):
        assert 0.0 <= step.score <= 1.0
        assert not (step.terminated and step.truncated)
        if not step.applied:
            assert step.page == page
            assert step.reward == 0.0
        if ended:
            assert not step.applied
            assert step.terminated or step.truncated
        ended = step.terminated or step.truncated
        assert step.truncated == (not step.terminated and number >= shop.max_steps)
        assert set(step.page.products) | set(step.page.options) <= set(step.page.clickables)
        page = step.page
    assert sum(step.reward for step in steps) <= 1.0 + 0.1 + 0.1


@UNSAFE_FIXTURES
@given(ACTIONS, st.data())
def test_every_clickable_can_be_clicked(shop: WebShop, actions: list[str], data: st.DataObject) -> None:
    first, steps = _play(shop, actions[:10], 0, 0)
    page = steps[-1].page if steps else first
    if page.clickables and not (steps and (steps[-1].terminated or steps[-1].truncated)):
        target = data.draw(st.sampled_from(page.clickables))
        _, again = _play(shop, [*actions[:10], f"click[{target}]"], 0, 0)
        assert again[-1].applied


@given(st.text())
def test_the_parser_never_raises(action: str) -> None:
    verb, argument = parse_action(action)
    assert action.startswith(verb)
    assert argument is None or argument == argument.lower()


@given(st.text(max_size=200))
def test_words_are_disjoint_parts_of_the_text_in_order(text: str) -> None:
    position = 0
    for word in words(text):
        position = text.index(word, position) + len(word)
        assert 0 < len(word) <= 255


@given(st.text(alphabet="abelnosty12'’. ", max_size=60))
def test_tokens_of_a_text_are_those_of_its_parts(text: str) -> None:
    """A blank always ends a word, so tokens of parts between blanks are the tokens of the whole."""
    assert tokens(text) == [token for part in text.split(" ") for token in tokens(part)]


@given(st.text(alphabet="abceilmnorstuyz", max_size=14))
def test_stems_are_never_longer_than_one_letter_more(word: str) -> None:
    assert len(stem(word)) <= max(len(word), 1)
