"""What the benchmark of views counts as seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.view import prompters, shows_line, shows_options, target_page, transcript_tokens
from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.types import Page
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.interface.views import View
from webshop_rl.models.tiny_codec import TinyCodec

FULL = "Back to Search [SEP] size [SEP] 8 [SEP] 9 | 10 [SEP] color [SEP] Navy Wash [SEP] Shoes"
COMPACT = "size: 8; 9 | 10\ncolor: navy wash\nshoes"
EMPTY = Page("", "", False, ())


@pytest.mark.parametrize("text", [FULL, COMPACT])
def test_an_option_is_seen_if_it_stands_there_whole(text: str) -> None:
    assert shows_options(text, ["8", "navy wash"])
    assert shows_options(text, ["9 | 10"])
    assert not shows_options(text, ["8", "10"])
    assert not shows_options(text, ["navy"])
    assert not shows_options(FULL[: FULL.index(" Wash")] + " ...", ["navy"])


def test_a_line_is_seen_if_something_stands_beside_its_label() -> None:
    labels = {"item 1": "b1", "item 10": "b10"}
    for text in ("item 1 [SEP] Red [SEP] $4 [SEP] item 10 ...", "item 1 red $4\nitem 10"):
        view = View(text, labels, EMPTY)
        assert shows_line(view, "b1")
        assert not shows_line(view, "b10")


def test_transcripts_are_as_long_as_those_that_an_agent_reads(mini_data_dir: Path) -> None:
    shop = WebShop(data_dir=str(mini_data_dir), num_products=None, split="none")
    goal = shop.goals("all")[0]
    views = prompters(TinyCodec(shop.texts(), 4096))
    record = run_episode(shop.session(), POLICIES["rule"](), goal, 0)
    lengths = {name: transcript_tokens(prompter, record) for name, prompter in views.items()}
    assert lengths["compact_small"] < lengths["compact"] < lengths["full, cut at 512"]
    assert target_page(shop, goal).title == shop.product(goal.asin).title
