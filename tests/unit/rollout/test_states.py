"""The name of a page in the record of an episode: the same for identical pages and for no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.shop5_parts import build
from webshop_rl.envs.types import Page, state_of

ITEM = Page(
    text="Red shoes [button] red [button_] [button] blue [button_]",
    body="Red shoes",
    can_search=False,
    clickables=("red", "blue", "buy now"),
    options=("red", "blue"),
    kind="item",
    chosen={"color": "red", "size": "8"},
)


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Red shoes"},
        {"chosen": {"color": "blue", "size": "8"}},
        {"chosen": {"color": "red"}},
        {"opened": ("1",)},
        {"kind": "sub"},
    ],
)
def test_what_a_page_shows_is_its_name(change: dict[str, Any]) -> None:
    assert state_of(replace(ITEM, **change)) != state_of(ITEM)


def test_the_order_of_choosing_is_no_part_of_it() -> None:
    assert state_of(replace(ITEM, chosen={"size": "8", "color": "red"})) == state_of(ITEM)


@pytest.mark.parametrize("view", ["full", "compact"])
def test_episodes_that_meet_a_page_again_name_it_alike(view: str) -> None:
    """By what the shop showed, also where the policy read "same page": played again by the actions."""
    parts = build(f"view={view}", sharpen=1.0)
    named: dict[tuple[str, str], set[str]] = {}
    texts: dict[str, set[str]] = {}
    for trajectory in parts.collect(20):
        session = parts.shop.session()
        page = session.reset_to(trajectory.goal, seed=trajectory.seed)
        for turn in trajectory.turns:
            named.setdefault((trajectory.goal.id, page.text), set()).add(turn.state)
            texts.setdefault(turn.state, set()).add(page.text)
            page = session.step(turn.action).page
    assert all(len(states) == 1 for states in named.values())
    assert all(len(pages) == 1 for pages in texts.values())
    assert len(texts) > 10
