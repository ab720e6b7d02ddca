"""Which episodes an evaluation plays: the same for every policy and run."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from webshop_rl.envs.goal_lists import by_product, by_stage, shares
from webshop_rl.envs.types import Goal, Shop
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.statistics import effective_products, in_effect


def evaluation_specs(goals: Sequence[Goal], num_episodes: int | None, seed: int) -> list[EpisodeSpec]:
    """The episodes of an evaluation, drawn product by product: the same for every policy and run.

    Fewer episodes of a seed are the first of more. More episodes than goals: the goals again, in the same
    order, each time with another seed of the shop. Of a curriculum's goals, so many of each stage.

    Args:
        goals: of one split.
        num_episodes: how many episodes; None plays every goal once.
        seed: of the choice of goals and of the shop's randomness; not of the policy's.
    """
    return [spec for own in by_stage(goals).values() for spec in _stage_specs(own, num_episodes, seed)]


def _stage_specs(goals: Sequence[Goal], num_episodes: int | None, seed: int) -> list[EpisodeSpec]:
    number = len(goals) if num_episodes is None else num_episodes
    drawn = list(itertools.islice(turns_of_products(goals, seed), number))
    chosen = itertools.islice(itertools.cycle(drawn), number)
    seen: dict[str, int] = {}
    specs = []
    for goal in chosen:
        sample = seen[goal.id] = seen.get(goal.id, -1) + 1
        specs.append(EpisodeSpec(goal, sample, episode_seed("evaluation", seed, goal.id, sample)))
    return specs


def turns_of_products(goals: Sequence[Goal], seed: int) -> Iterator[Goal]:
    """The goals in turn of their products: one of each, then a second of each that has two, and so on.

    So however many are taken from the front, no product has another one before every product that has
    goals left has as many: a product with hundreds of goals weighs no more than it must.

    Args:
        seed: of the order of the products, and of the goals of each.
    """
    products = by_product(goals)
    rng = np.random.default_rng(seed)
    left: list[tuple[Sequence[Goal], list[int]]] = []
    for number in rng.permutation(len(products)).tolist():
        own = products[number]
        order = rng.permutation(len(own)).tolist()
        yield own[order[0]]
        left.append((own, order))
    for place in itertools.count(1):
        left = [(own, order) for own, order in left if place < len(own)]
        if not left:
            return
        yield from (own[order[place]] for own, order in left)


def describe_episodes(shop: Shop, split: str, records: Sequence[Mapping[str, Any]]) -> str:
    """What was played, in a few words, and what an agent trained in this shop has seen of it.

    Args:
        split: "train", "val", "test" or "all".
        records: recorded episodes of goals of the split.
    """
    train, goals = shop.goals("train"), shop.goals(split)
    if shares(train, goals, by="id"):
        seen = "these are training goals"
    elif shares(train, goals, by="asin"):
        seen = "held-out goals of products seen in training"
    else:
        seen = "held-out products"
    words = {"train": "training goals", "all": "all goals"}.get(split, f"{split} goals ({seen})")
    products = [record["asin"] for record in records]
    num_goals, num_products = len({record["goal"] for record in records}), len(set(products))
    weighed = in_effect(num_products, effective_products(products))
    played = f"{words}, {len(records)} episodes, {num_goals} goals of {weighed}"
    return "; ".join([played, *shop.remarks])
