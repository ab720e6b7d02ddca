"""Evaluation of a policy: which episodes, what they sum to, one row a goal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from webshop_rl.envs.types import EndReason, Goal, Shop
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.rollout.types import Trajectory


def evaluation_specs(goals: Sequence[Goal], num_episodes: int, seed: int) -> list[EpisodeSpec]:
    """The episodes of an evaluation: goals in their order, in turn if there are fewer than episodes.

    More goals than episodes: an evenly spread choice, the same for every policy and run.

    Args:
        goals: of one split.
        num_episodes: how many episodes.
        seed: of the shop's randomness; not of the policy's.
    """
    if len(goals) > num_episodes:
        picked = np.linspace(0, len(goals) - 1, num_episodes).round().astype(int)
        chosen = [goals[i] for i in picked]
    else:
        chosen = [goals[i % len(goals)] for i in range(num_episodes)]
    seen: dict[str, int] = {}
    specs = []
    for goal in chosen:
        sample = seen[goal.id] = seen.get(goal.id, -1) + 1
        specs.append(EpisodeSpec(goal, sample, episode_seed("evaluation", seed, goal.id, sample)))
    return specs


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
