"""V* from the store: the reference's own samples, paid for once, whoever asks."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.training.reference import Reference
from webshop_rl.training.vstar import VstarSource
from webshop_rl.values.store import Sample


def source(
    parts: Parts, root: Path, *, temperature: float = 1.0, top_p: float = 1.0, **change: Any
) -> tuple[VstarSource, list[int]]:
    """A source, and a list that grows by each batch of reference episodes; change: keys of `vstar`."""
    collector = parts.acting.collector(parts.agent, parts.shop)
    played: list[int] = []
    plain = collector.collect
    collector.collect = lambda specs, **options: (  # type: ignore[method-assign]
        played.append(len(specs)),
        plain(specs, **options),
    )[1]
    vstar = replace(parts.cfg.vstar, **change)
    rollout = replace(parts.cfg.rollout, temperature=temperature, top_p=top_p)
    key = parts.acting.key(parts.agent, parts.shop)
    reference = Reference(parts.agent)
    goals = parts.shop.goals("train")
    return VstarSource(root, key, collector, reference, goals, vstar=vstar, rollout=rollout), played


def stored(source: VstarSource, goals: Sequence[Goal], num_samples: int) -> dict[str, list[float]]:
    """The returns a source has for each goal, by index."""
    return {goal.id: [source._store.get(goal.id)[i] for i in range(num_samples)] for goal in goals}


def test_samples_are_taken_once_and_more_extend_what_is_there(tmp_path: Path) -> None:
    parts = build()
    goals = parts.shop.goals("train")[:3]
    first, played = source(parts, tmp_path)
    found = first.of(goals, 4)
    assert sum(played) == 12
    assert list(found) == [g.id for g in goals]
    assert first.of(goals, 4) == found
    assert sum(played) == 12
    first.of(goals, 6)
    assert sum(played) == 18
    # Another run, another beta: nothing is paid.
    other, played = source(build("seed=5"), tmp_path, beta=0.1)
    nearer_max = other.of(goals, 4)
    assert played == []
    highest, _ = source(parts, tmp_path, estimator="max")
    varied = [g for g, returns in stored(first, goals, 4).items() if len(set(returns)) > 1]
    assert varied  # where all returns are equal, all estimates are
    assert all(highest.of(goals, 4)[g] > nearer_max[g] > found[g] for g in varied)


def test_another_references_samples_are_never_used(tmp_path: Path) -> None:
    parts = build()
    goals = parts.shop.goals("train")[:2]
    vstar, played = source(parts, tmp_path)
    initial = vstar.of(goals, 3)
    assert sum(played) == 6
    reference = vstar._reference
    with torch.no_grad():
        for parameter in parts.agent.network.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    reference.reset()
    vstar.use_reference(reference.digest())
    later = vstar.of(goals, 3)
    assert sum(played) == 12
    assert later != initial
    # A resumed run finds them again, of each reference its own.
    again, played = source(parts, tmp_path)
    again.use_reference(reference.digest())
    assert again.of(goals, 3) == later
    again.use_reference("")
    assert again.of(goals, 3) == initial
    assert played == []


def test_goals_whose_reference_returns_do_not_differ_are_left_out(tmp_path: Path) -> None:
    parts = build()
    goals = parts.shop.goals("train")[:4]
    vstar, played = source(parts, tmp_path)
    # Standard deviations 0, .5, .25, 0 of the first two; a third sample is not looked at.
    returns = {0: [1.0, 1.0, 0.0], 1: [0.0, 1.0], 2: [0.0, 0.5], 3: [0.0, 0.0]}
    samples = [Sample(goals[g].id, i, r, r) for g, each in returns.items() for i, r in enumerate(each)]
    vstar._store.add(samples)
    assert vstar.with_spread(goals, 2, 0.25) == [goals[1], goals[2]]
    assert vstar.with_spread(goals, 2, 0.3) == [goals[1]]
    assert played == []
    with pytest.raises(UserError, match=r"vstar\.min_spread: no goal has"):
        vstar.with_spread(goals, 2, 0.6)
    stages = [replace(goals[g], stage=stage) for g, stage in ((0, "easy"), (1, "hard"))]
    with pytest.raises(UserError, match="no goal of easy"):
        vstar.with_spread(stages, 2, 0.25)


def test_it_is_the_reference_that_is_sampled_not_the_policy(tmp_path: Path) -> None:
    parts = build()
    goals = parts.shop.goals("train")
    before, _ = source(parts, tmp_path / "before")
    initial = before.of(goals, 4), stored(before, goals, 4)
    moved, played = source(parts, tmp_path / "moved")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parts.agent.network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    assert (moved.of(goals, 4), stored(moved, goals, 4)) == initial
    assert sum(played) == 20
    # The moved policy's own episodes are others: sampling it would have been noticed.
    policy, _ = source(parts, tmp_path / "policy")
    policy.of(goals, 4)
    assert stored(policy, goals, 4) != initial[1]


def test_samples_are_the_references_episodes_of_their_goals_as_the_run_samples(tmp_path: Path) -> None:
    """Each stored return is an episode's that is replayed alone: goal, own seed, temperature, top_p."""
    parts = build("rollout.temperature=0.7", "rollout.top_p=0.9")
    goals = parts.shop.goals("train")
    taken, _ = source(parts, tmp_path, seed=3, temperature=0.7, top_p=0.9, beta=0.5)
    found = taken.of(goals, 6)
    returns = stored(taken, goals, 6)

    def replayed(temperature: float, top_p: float) -> dict[str, list[float]]:
        play = functools.partial(parts.collector.collect, temperature=temperature, top_p=top_p)
        specs = {
            goal.id: [EpisodeSpec(goal, i, episode_seed("vstar", 3, goal.id, i)) for i in range(6)]
            for goal in goals
        }
        return {goal: [play([spec])[0].episode_return for spec in each] for goal, each in specs.items()}

    assert returns == replayed(0.7, 0.9)
    # Each setting matters to these episodes, and so does the sample's index.
    assert returns != replayed(1.0, 0.9)
    assert returns != replayed(0.7, 1.0)
    assert any(len(set(each)) > 1 for each in returns.values())
    for goal, each in returns.items():
        assert found[goal] == pytest.approx(0.5 * math.log(np.mean(np.exp(np.array(each) / 0.5))))


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"temperature": 0.7}, {"top_p": 0.9}], ids=lambda c: next(iter(c))
)
def test_other_ways_of_sampling_are_kept_apart(tmp_path: Path, change: dict[str, Any]) -> None:
    parts = build()
    goals = parts.shop.goals("train")[:1]
    one, _ = source(parts, tmp_path)
    one.of(goals, 2)
    other, played = source(parts, tmp_path, **change)
    other.of(goals, 2)
    assert sum(played) == 2


@pytest.mark.parametrize(
    "override",
    [
        "model.init_seed=1", "env.reward=score", "env.max_steps=5", "rollout.think=true",
        "rollout.few_shot=1", "rollout.max_query_words=3", "rollout.invalid_penalty=0.1",
        "model.context_tokens=500",
        "model.product_labels=asin", "rollout.list_actions=true", "rollout.decoding=free",
        "rollout.context_overflow=drop_oldest", "rollout.max_reply_tokens=9", "rollout.max_think_tokens=9",
        "model.max_page_tokens=50", "view=compact",
        "rollout.history=window:2", "rollout.queries=window", "env.distractors=1",
    ],
)  # fmt: skip
def test_whatever_decides_an_episode_is_in_the_key(override: str) -> None:
    assert key() != key(override)


def test_what_does_not_decide_an_episode_is_not_in_the_key() -> None:
    assert key() == key("seed=7", "lr=1e-4", "num_updates=3", "rollout.batch_size=5", "algo.group_size=3")


@functools.cache
def key(*overrides: str) -> dict[str, str]:
    parts = build(*overrides)
    return parts.acting.key(parts.agent, parts.shop)


def test_reference_of_adapters_is_sampled_with_them_off(tmp_path: Path) -> None:
    adapted, plain = build("model.lora.enabled=true"), build()
    goals = plain.shop.goals("train")[:2]
    a, _ = source(adapted, tmp_path / "a")
    b, _ = source(plain, tmp_path / "b")
    # The adapters were moved (shop5_parts), the weights beneath are the same.
    assert np.allclose(list(a.of(goals, 4).values()), list(b.of(goals, 4).values()))
