"""Scripted policies on the same episodes as the trained one: what any agent must beat."""

from __future__ import annotations

from collections.abc import Sequence

from webshop_rl.envs.scripted import POLICIES, run_episode
from webshop_rl.envs.types import Shop
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory, Turn

BASELINES = ("random", "first", "rule")


def play_scripted(name: str, shop: Shop, specs: Sequence[EpisodeSpec]) -> list[Trajectory]:
    """Episodes of a scripted policy ("random", "first" or "rule"), in the order of specs."""
    return [_play(name, shop, spec) for spec in specs]


def _play(name: str, shop: Shop, spec: EpisodeSpec) -> Trajectory:
    record = run_episode(shop.session(), POLICIES[name](), spec.goal, spec.seed)
    turns = [
        Turn(page.text, action, action, step.reward, step.applied, dict(step.parts))
        for page, action, step in zip(record.pages, record.actions, record.steps, strict=False)
    ]
    return Trajectory(spec.goal, spec.sample, spec.seed, turns=turns, score=record.score, end=record.end)
