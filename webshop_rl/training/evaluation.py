"""Evaluation of a policy: which episodes, what they sum to, one row a goal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from webshop_rl.envs.types import EndReason, Goal, Shop
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.rollout.types import Trajectory


def evaluation_specs(goals: Sequence[Goal], num_episodes: int | None, seed: int) -> list[EpisodeSpec]:
    """The episodes of an evaluation, drawn product by product: the same for every policy and run.

    Fewer episodes of a seed are the first of more. More episodes than goals: the goals again, in the same
    order, each time with another seed of the shop.

    Args:
        goals: of one split.
        num_episodes: how many episodes; None plays every goal once.
        seed: of the choice of goals and of the shop's randomness; not of the policy's.
    """
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


def effective_products(products: Sequence[str]) -> float:
    """How many products of equal weight say as much as these: 1 / Σ w², w a product's share of episodes.

    Args:
        products: the product of each episode.
    Source: Kish, Survey Sampling, 1965.
    """
    shares = np.array(list(Counter(products).values())) / max(1, len(products))
    return float(1 / np.sum(shares**2)) if len(shares) else 0.0


def split_label(shop: Shop, split: str) -> str:
    """What an agent that was trained in this shop has seen of a split, in a few words."""
    train, goals = shop.goals("train"), shop.goals(split)
    if {goal.id for goal in train} & {goal.id for goal in goals}:
        return "these are training goals"
    if {goal.asin for goal in train} & {goal.asin for goal in goals}:
        return "held-out goals of products seen in training"
    return "held-out products"


def summarise(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over recorded episodes, by the ends of their metric names (tracking.names)."""
    turns = [turn for record in records for turn in record["turns"]]
    return {
        "success": _mean([r["success"] for r in records]),
        "score": _mean([r["score"] for r in records]),
        "return_mean": _mean([r["return"] for r in records]),
        "episode_turns": _mean([len(r["turns"]) for r in records]),
        "invalid_frac": _mean([not turn["valid"] for turn in turns]),
        "truncated_frac": _mean([r["end"] != EndReason.BOUGHT for r in records]),
    }


def summarise_evaluation(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The same, and means in which every product weighs alike; what is logged of an evaluation."""
    members: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        members.setdefault(record["asin"], []).append(record)
    return summarise(records) | {
        "success_by_product": _mean([_mean([r["success"] for r in own]) for own in members.values()]),
        "score_by_product": _mean([_mean([r["score"] for r in own]) for own in members.values()]),
        "effective_products": effective_products([r["asin"] for r in records]),
    }


def collection_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What is logged of a training collection, under its full names."""
    means = summarise([episode_record(t) for t in trajectories])
    num_turns = sum(len(t.turns) for t in trajectories)
    means["return_std"] = float(np.std([t.episode_return for t in trajectories]))
    means["reply_tokens"] = sum(t.num_action_tokens for t in trajectories) / max(1, num_turns)
    means["reply_decisions"] = sum(t.num_decisions for t in trajectories) / max(1, num_turns)
    means["reply_cut_frac"] = sum(t.num_replies_cut for t in trajectories) / max(1, num_turns)
    return {f"train/{name}": value for name, value in means.items()}


def table_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a goal, for the evaluation table."""
    by_goal: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_goal.setdefault(record["goal"], []).append(record)
    return [
        {
            "goal": goal,
            "asin": group[0]["asin"],
            "instruction": group[0]["instruction"],
            "episodes": len(group),
            "success": _mean([r["success"] for r in group]),
            "score": _mean([r["score"] for r in group]),
            "return": _mean([r["return"] for r in group]),
            "turns": _mean([len(r["turns"]) for r in group]),
            "truncated": _mean([r["end"] != EndReason.BOUGHT for r in group]),
        }
        for goal, group in by_goal.items()
    ]


def episode_record(trajectory: Trajectory) -> dict[str, Any]:
    """One episode as a line of JSON, for audit."""
    return {
        "goal": trajectory.goal.id,
        "asin": trajectory.goal.asin,
        "instruction": trajectory.goal.instruction,
        "sample": trajectory.sample,
        "seed": trajectory.seed,
        "score": trajectory.score,
        "success": trajectory.success,
        "return": trajectory.episode_return,
        "end": str(trajectory.end),
        "turns": [
            {
                "page": turn.page,
                "reply": turn.reply,
                "action": turn.action,
                "reward": turn.reward,
                "valid": turn.valid,
                "parts": turn.parts,
            }
            for turn in trajectory.turns
        ],
    }


def _mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
