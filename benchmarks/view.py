"""What the policy can see of what it has to choose from, and how many tokens it reads for that.

    python -m benchmarks.view --data-dir FOLDER

For each view of a page, on test goals of WebShop's first 1,000 products drawn product by product, in tokens
of the tiny model's vocabulary: the share of goals that name options whose wanted values all stand on the
target's page; the share of first searches with the target among their results whose page has a line of it;
and the length of whole transcripts. The searches and transcripts are those of the scripted policy backtrack.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from webshop_rl.cli import command
from webshop_rl.config import register
from webshop_rl.config.groups import ViewConfig
from webshop_rl.config.hydra_adapter import CONF
from webshop_rl.config.load import as_typed
from webshop_rl.envs.scripted import POLICIES, EpisodeRecord, run_episode
from webshop_rl.envs.types import Goal, Page
from webshop_rl.envs.webshop.goals import WebshopGoal
from webshop_rl.envs.webshop.product import Product
from webshop_rl.envs.webshop.reward import Score
from webshop_rl.envs.webshop.session import Rules, WebshopSession
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.interface.prompts import Prompter
from webshop_rl.interface.views import CUT, View, identity
from webshop_rl.models.tiny_codec import TinyCodec

POLICY = "backtrack"
VOCABULARY = 4096
RULES = Rules("score", "text", 15, 0.0, 0.0, show_attributes=False)


class _OnlyTarget:
    """A shop in which every search finds the goal's target alone."""

    def __init__(self, shop: WebShop, goal: Goal) -> None:
        self._shop = shop
        self._target = shop.product(goal.asin)
        self.shown = shop.shown

    def goal(self, goal: Goal) -> WebshopGoal:
        return self._shop.goal(goal)

    def lookup(self, keywords: list[str], rng: random.Random) -> Sequence[Product]:
        return [self._target]

    def score(self, product: Product, goal: WebshopGoal, options: Mapping[str, str]) -> Score:
        return self._shop.score(product, goal, options)

    def options_share(self, goal: WebshopGoal, options: Mapping[str, str]) -> float:
        return self._shop.options_share(goal, options)


def target_page(shop: WebShop, goal: Goal) -> Page:
    """The page of the product that a goal was made from."""
    session = WebshopSession(_OnlyTarget(shop, goal), RULES)
    session.reset_to(goal, seed=0)
    return session.step(f"click[{session.step('search[it]').page.products[0]}]").page


def shows_options(text: str, values: Sequence[str]) -> bool:
    """Whether all these values stand on a page as it is shown, each of them whole."""
    whole = re.sub(r"\s*\[SEP\]\s*", "\n", text.removesuffix(CUT)).lower()
    parts = {part for line in whole.splitlines() for part in (line, *line.partition(": ")[2].split("; "))}
    if text.endswith(CUT):
        parts.discard(whole.splitlines()[-1])  # cut somewhere inside
    return set(values) <= parts


def shows_line(view: View, target: str) -> bool:
    """Whether a list of results as it is shown has a line of this target, or the beginning of one."""
    label = next(label for label, named in view.labels.items() if named == target)
    text = view.text.removesuffix(CUT).replace("[SEP]", "")
    return re.search(rf"(?m)^.*\b{re.escape(label)}(?!\d).*\w", text) is not None


def transcript_tokens(prompter: Prompter, record: EpisodeRecord) -> int:
    """Length of an episode as one transcript, tokens."""
    shown: dict[str, Hashable] = {}
    total = 0
    for turn, (page, action) in enumerate(zip(record.pages, record.actions, strict=False), start=1):
        view = prompter.view(page, shown, turn) if turn > 1 else prompter.first_view(record.goal, page)
        total += len(prompter.page(view, reply_ended=True) if turn > 1 else prompter.opening(view))
        shown[page.kind] = identity(page)
        labels = {f"click[{named}]": f"click[{label}]" for label, named in view.labels.items()}
        total += len(prompter.codec.encode(labels.get(action, action))) + 1
    return total


def configured(name: str) -> ViewConfig:
    """A view of conf/view."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return as_typed(compose("config", overrides=[f"view={name}"])).view


def prompters(codec: TinyCodec) -> dict[str, Prompter]:
    """The views that are compared, by name."""
    ranked = Prompter(codec, "rank")
    return {
        "full, cut at 64": replace(ranked, max_page_tokens=64),
        "full, cut at 512": replace(ranked, max_page_tokens=512),
        "compact": replace(ranked, compact=configured("compact")),
        "compact_small": replace(ranked, compact=configured("compact_small")),
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.view", description=__doc__)
    parser.add_argument("--data-dir", help="folder of the data files; WEBSHOP_DATA_DIR without")
    parser.add_argument("--episodes", type=int, default=500, help="test goals (default: 500)")
    options = parser.parse_args(arguments)

    shop = WebShop(data_dir=options.data_dir)
    specs = evaluation_specs(shop.goals("test"), options.episodes, seed=1000)
    records = [run_episode(shop.session(), POLICIES[POLICY](), spec.goal, spec.seed) for spec in specs]
    wanted = [(shop.goal(spec.goal), target_page(shop, spec.goal)) for spec in specs]
    wanted = [(goal, page) for goal, page in wanted if goal.options]
    found = [(r.goal.asin.lower(), r.pages[1]) for r in records if r.goal.asin.lower() in r.pages[1].products]

    table = Table("view", "options", "target's line", "tokens, median", "90 %", "longest")
    for name, prompter in prompters(TinyCodec(shop.texts(), VOCABULARY)).items():
        chosen = [
            shows_options(prompter.view(page, {}, 3).text, [value for _, value in goal.options])
            for goal, page in wanted
        ]
        lines = [shows_line(prompter.view(page, {}, 3), target) for target, page in found]
        lengths = np.percentile([transcript_tokens(prompter, record) for record in records], [50, 90, 100])
        table.add_row(
            name, *(f"{np.mean(seen):.3f}" for seen in (chosen, lines)), *(f"{n:.0f}" for n in lengths)
        )
    console = Console()
    console.print(f"{len(specs)} goals, {len(wanted)} with options, {len(found)} found by the first search")
    console.print(table)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
