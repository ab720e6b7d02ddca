"""Partial credit in training: what each turn is paid, in which episodes, and that evaluation pays none."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.shop5_parts import SMALL, build, composed, run_here
from tests.unit.rollout.test_episode import play
from tests.unit.training.test_vstar_source import source, stored
from webshop_rl.config.schema import ShapingConfig
from webshop_rl.envs.shop5.session import Shop5Session
from webshop_rl.envs.types import Goal, Page, Step
from webshop_rl.envs.webshop.shop import WebShop
from webshop_rl.errors import UserError
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.rollout.episode import Episode, EpisodeSpec
from webshop_rl.rollout.shaping import PartialCredit
from webshop_rl.training.collection import group_specs

WEIGHTS = {"search": 0.1, "category": 0.2, "product": 0.4, "options": 0.8}
FOUND = {"search": 1.0}
OTHER = {"search": 1.0, "category": 1.0, "product": 0.0, "options": 0.0}
TARGET = {"search": 1.0, "category": 1.0, "product": 1.0, "options": 0.0}
HALF = {**TARGET, "options": 0.5}
CHOSEN = {**TARGET, "options": 1.0}
# Found, a wrong product, back, the target, one of two options, both, bought.
EPISODE = [FOUND, OTHER, FOUND, TARGET, HALF, CHOSEN, {}]


def credit(kind: str, pages: Iterable[dict[str, float]]) -> list[float]:
    paid = PartialCredit(ShapingConfig(kind=kind, **WEIGHTS))
    return [paid.earn(page) for page in pages] + [paid.settle()]


def test_once_pays_what_is_new_in_the_episode() -> None:
    # .1 found; .2 category; 0 back; .4 the target; .8 / 2 for each option; nothing at the end.
    assert credit("once", EPISODE) == pytest.approx([0.1, 0.2, 0, 0.4, 0.4, 0.4, 0, 0])
    assert credit("once", [CHOSEN, {}, CHOSEN]) == pytest.approx([1.5, 0, 0, 0])


def test_potentials_are_differences_that_sum_to_nothing() -> None:
    # Phi: .1, .3, .1, .7, 1.1, 1.5, 0 at the end.
    assert credit("potential", EPISODE) == pytest.approx([0.1, 0.2, -0.2, 0.6, 0.4, 0.4, -1.5, 0])
    # Cut off with both options chosen: the last turn gives it back.
    assert credit("potential", EPISODE[:-1]) == pytest.approx([0.1, 0.2, -0.2, 0.6, 0.4, 0.4, -1.5])


class Telling(Shop5Session):
    """The five-product shop, which says how near a page is to the goal."""

    def step(self, action: str) -> Step:
        step = super().step(action)
        kinds = {"results": FOUND, "item": TARGET}
        return replace(step, progress=kinds.get(step.page.kind, {}))

    def reset_to(self, goal: Goal, *, seed: int) -> Page:
        return super().reset_to(goal, seed=seed)


def rewards(kind: str, actions: list[str], *, partial_credit: bool = True, **settings: Any) -> list[float]:
    """Of an episode of the red shoes, which pays 1 for buying them and nothing on the way."""
    parts = build("env.max_steps=3")
    rollout = replace(parts.acting.rollout, shaping=ShapingConfig(kind=kind, **WEIGHTS), invalid_penalty=0.25)
    session = Telling(max_steps=3, reward="score", parts={"search": 0, "click": 0, "buy": 1.0}, shuffle=False)
    spec = EpisodeSpec(parts.shop.goals("train")[0], 0, 7, partial_credit=partial_credit)
    context = settings.get("context_tokens", parts.agent.context_tokens)
    episode = Episode(spec, session, parts.acting.prompter, rollout, context)
    return [turn.reward for turn in play(parts, episode, actions).trajectory.turns]


BUY = ["search[red]", "click[1]", "click[buy now]"]


@pytest.mark.parametrize(
    ("kind", "actions", "expected"),
    [
        ("once", BUY, [0.1, 0.6, 1.0]),
        ("potential", BUY, [0.1, 0.6, 1.0 - 0.7]),
        ("potential", ["search[red]", "click[1]", "search[red]"], [0.1, 0.6, -0.7]),  # out of steps
        ("none", BUY, [0.0, 0.0, 1.0]),
    ],
)
def test_turns_are_paid(kind: str, actions: list[str], expected: list[float]) -> None:
    assert rewards(kind, actions) == pytest.approx(expected)


def test_a_transcript_that_outgrew_the_context_gives_its_potential_back() -> None:
    found = rewards("potential", BUY, context_tokens=60)
    assert 0 < len(found) < 3
    assert sum(found) == pytest.approx(0.0)


@pytest.mark.parametrize("kind", ["once", "potential"])
def test_an_episode_that_asks_for_none_is_paid_none(kind: str) -> None:
    assert rewards(kind, BUY, partial_credit=False) == [0.0, 0.0, 1.0]


def test_training_asks_for_it_and_evaluation_does_not() -> None:
    goals = build().shop.goals("train")
    assert all(spec.partial_credit for spec in group_specs(goals, 2, 0, 0))
    assert not any(spec.partial_credit for spec in evaluation_specs(goals, None, 0))


@pytest.fixture(scope="module")
def shop(mini_data_dir: Path) -> WebShop:
    return WebShop(data_dir=str(mini_data_dir), num_products=None, split="none", max_steps=30)


def test_what_the_real_shop_says_of_its_pages(shop: WebShop) -> None:
    goal = next(g for g in shop.goals("all") if g.asin == "B000000001" and "red" in g.instruction)
    assert len(goal.options) == 2
    session = shop.session()
    session.reset_to(goal, seed=0)
    for action, expected in (
        ("search[mug]", {"search": 0.0}),
        ("click[b000000100]", {"search": 0.0, "category": 0.0, "product": 0.0, "options": 0.0}),
        ("click[back to search]", {}),
        ("search[shoes]", FOUND),
        ("click[b000000002]", OTHER),
        ("click[features]", OTHER),
        ("no action", OTHER),
        ("click[< prev]", OTHER),
        ("click[< prev]", FOUND),
        ("click[b000000001]", TARGET),
        ("click[red]", HALF),
        ("click[navy wash]", TARGET),
        ("click[red]", HALF),
        ("click[8]", CHOSEN),
        ("click[buy now]", {}),
    ):
        assert session.step(action).progress == expected, action


def test_a_goal_without_options_has_them_all_on_its_own_product(shop: WebShop) -> None:
    goal = next(g for g in shop.goals("all") if g.asin == "B000000004" and not g.options)
    session = shop.session()
    session.reset_to(goal, seed=0)
    session.step("search[table]")
    other = session.step("click[b000000003]").progress
    assert (other["product"], other["options"]) == (0.0, 0.0)
    session.step("click[< prev]")
    own = session.step("click[b000000004]").progress
    assert (own["product"], own["options"]) == (1.0, 1.0)


def test_evaluation_is_the_same_to_the_last_digit(mini_data_dir: Path, tmp_path: Path) -> None:
    """Two runs without an update: the records of all policies, the sampling one among them."""
    quick = (
        *SMALL,
        "env=webshop",
        f"env.data_dir={mini_data_dir}",
        "env.num_products=null",
        "env.split=none",
        "env.max_steps=8",
        "num_updates=0",
        "evaluation.test_episodes=40",
        "evaluation.temperature=1.0",
        "evaluation.val_episodes=4",
    )
    (_, plain), (_, paid) = (
        run_here(tmp_path, kind, *quick, f"rollout.shaping.kind={kind}", "rollout.shaping.search=7")
        for kind in ("none", "once")
    )
    assert max(len(json.loads(line)["turns"]) for line in (plain / "episodes/test.jsonl").open()) > 2
    names = sorted(path.relative_to(plain) for path in plain.glob("episodes/**/*.jsonl"))
    assert len(names) == 6
    assert all((plain / name).read_bytes() == (paid / name).read_bytes() for name in names)
    # The same policy's training episodes on the same goals are paid.
    parts = build(*quick, "rollout.shaping.kind=once", "rollout.shaping.search=7", sharpen=1)
    goals = parts.shop.goals("train")
    played = parts.collector.collect(group_specs(goals, 4, 0, 0), temperature=1.0)
    assert max(t.episode_return for t in played) > 7
    # And so are the reference's, which they are compared with.
    taken, _ = source(parts, tmp_path / "vstar")
    taken.of(goals, 4)
    assert max(max(returns) for returns in stored(taken, goals, 4).values()) > 7


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rollout.shaping.kind=once"], "does not say how near"),
        (["env=stage2", "rollout.shaping.kind=once"], "pays for finding and opening the target already"),
        (["env=stage2", "env.reward=score", "rollout.shaping.kind=potential", "algo=ppo", "algo.gamma=0.9"],
         "gamma"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        composed(*overrides)
    composed("env=stage2", "env.reward=score", "rollout.shaping.kind=potential", "algo=ppo")
