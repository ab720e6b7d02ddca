"""Which episodes an evaluation plays: the same for every policy and run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from webshop_rl.envs.types import Goal, Shop
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.statistics import effective_products


def evaluation_specs(goals: Sequence[Goal], num_episodes: int | None, seed: int) -> list[EpisodeSpec]:
    """The episodes of an evaluation, drawn product by product: the same for every policy and run.

    Fewer episodes of a seed are the first of more. More episodes than goals: the goals again, in the same
    order, each time with another seed of the shop. Of a curriculum's goals, so many of each stage.

    Args:
        goals: of one split.
        num_episodes: how many episodes; None plays every goal once.
        seed: of the choice of goals and of the shop's randomness; not of the policy's.
    """
    stages = dict.fromkeys(goal.stage for goal in goals)
    by_stage = [[goal for goal in goals if goal.stage == stage] for stage in stages]
    return [spec for own in by_stage for spec in _stage_specs(own, num_episodes, seed)]


def _stage_specs(goals: Sequence[Goal], num_episodes: int | None, seed: int) -> list[EpisodeSpec]:
    drawn = by_product(goals, seed)
    chosen = [drawn[i % len(drawn)] for i in range(len(drawn) if num_episodes is None else num_episodes)]
    seen: dict[str, int] = {}
    specs = []
    for goal in chosen:
        sample = seen[goal.id] = seen.get(goal.id, -1) + 1
        specs.append(EpisodeSpec(goal, sample, episode_seed("evaluation", seed, goal.id, sample)))
    return specs


def by_product(goals: Sequence[Goal], seed: int) -> list[Goal]:
    """The goals in turn of their products: one of each, then a second of each that has two, and so on.

    So however many are taken from the front, no product has another one before every product that has
    goals left has as many: a product with hundreds of goals weighs no more than it must.

    Args:
        seed: of the order of the products, and of the goals of each.
    """
    members: dict[str, list[Goal]] = {}
    for goal in goals:
        members.setdefault(goal.asin, []).append(goal)
    rng = np.random.default_rng(seed)
    products = [list(members.values())[i] for i in rng.permutation(len(members))]
    shuffled = [[product[i] for i in rng.permutation(len(product))] for product in products]
    rounds = max(map(len, shuffled), default=0)
    return [product[place] for place in range(rounds) for product in shuffled if place < len(product)]


def describe_episodes(shop: Shop, split: str, records: Sequence[Mapping[str, Any]]) -> str:
    """What was played, in a few words, and what an agent trained in this shop has seen of it.

    Args:
        split: "train", "val", "test" or "all".
        records: recorded episodes of goals of the split.
    """
    train, goals = shop.goals("train"), shop.goals(split)
    if {goal.id for goal in train} & {goal.id for goal in goals}:
        seen = "these are training goals"
    elif {goal.asin for goal in train} & {goal.asin for goal in goals}:
        seen = "held-out goals of products seen in training"
    else:
        seen = "held-out products"
    words = {"train": "training goals", "all": "all goals"}.get(split, f"{split} goals ({seen})")
    products = [record["asin"] for record in records]
    num_goals, num_products = len({record["goal"] for record in records}), len(set(products))
    effective = effective_products(products)
    weights = "" if effective > num_products - 0.5 else f" (in effect {effective:.1f})"
    played = f"{words}, {len(records)} episodes, {num_goals} goals of {num_products} products{weights}"
    return "; ".join([played, *shop.remarks])
