"""Recorded episodes: one JSONL file a policy in a run's folder, one line an episode, and what they sum to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from webshop_rl.envs.types import EndReason
from webshop_rl.evaluation.reasons import Reason, reason
from webshop_rl.rollout.types import Trajectory
from webshop_rl.statistics import effective_products
from webshop_rl.storage.files import replace_file

Record = dict[str, Any]


def write_records(path: Path, trajectories: Sequence[Trajectory]) -> list[dict[str, Any]]:
    """Write episodes, whole or not at all; returns the records."""
    records = [episode_record(trajectory) for trajectory in trajectories]
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    replace_file(path, lines, durable=False)
    return records


def read_records(path: Path) -> list[dict[str, Any]] | None:
    """The records of an evaluation that was done before, or None."""
    if not path.is_file():
        return None
    return [json.loads(line) for line in path.read_text().splitlines()]


def summarise(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over recorded episodes, by the ends of their metric names (tracking.names)."""
    turns = [turn for record in records for turn in record["turns"]]
    return {
        "score": _mean([r["score"] for r in records]),
        "success": _mean([r["success"] for r in records]),
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


def rank(means: Mapping[str, float]) -> tuple[float, float, float]:
    """What the best checkpoint is chosen by: success, then score, products weighted alike; then return.

    A count of goals would let a product with hundreds of them choose, where all of a split are played.

    Args:
        means: of an evaluation, as summarise_evaluation gives them.
    """
    return means["success_by_product"], means["score_by_product"], means["return_mean"]


def by_stage(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The records of each stage of a curriculum, in order of appearance; empty without a curriculum."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        if "stage" in record:
            found.setdefault(record["stage"], []).append(record)
    return found


def table_rows(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a goal, for the evaluation table."""
    by_goal: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_goal.setdefault(record["goal"], []).append(record)
    return [
        {
            "goal": goal,
            "score": _mean([r["score"] for r in group]),
            "success": _mean([r["success"] for r in group]),
            "instruction": group[0]["instruction"],
            "episodes": len(group),
            "return": _mean([r["return"] for r in group]),
            "turns": _mean([len(r["turns"]) for r in group]),
            "truncated": _mean([r["end"] != EndReason.BOUGHT for r in group]),
            "asin": group[0]["asin"],
        }
        for goal, group in by_goal.items()
    ]


def worth_reading(records: Sequence[Mapping[str, Any]]) -> list[Record]:
    """The episodes in the order in which they are worth reading, each with what there is to say of it.

    Failures come first, and of these one of each reason before a second of any; `feedback` has the score,
    whether it succeeded, the reason if it failed, and the reward by part.
    """
    ranked: list[tuple[bool, int, Record]] = []
    seen: Counter[Reason | None] = Counter()
    for record in records:
        why = reason(record)
        said = {"score": record["score"], "success": record["success"]}
        feedback = said | ({"reason": str(why)} if why else {}) | _reward_by_part(record)
        ranked.append((why is None, seen[why], {**record, "feedback": feedback}))
        seen[why] += 1
    return [record for _, _, record in sorted(ranked, key=lambda place: place[:2])]


def _reward_by_part(record: Mapping[str, Any]) -> dict[str, float]:
    """Sums over the turns; of a score its factors alone (r_type, r_att, ...), not their weights."""
    parts = [(name, value) for turn in record["turns"] for name, value in turn["parts"].items()]
    factors = [part for part in parts if part[0].startswith("r_")]
    sums: Counter[str] = Counter()
    for name, value in factors or parts:
        sums[name] += value
    return {name: float(value) for name, value in sums.items()}


def episode_record(trajectory: Trajectory) -> dict[str, Any]:
    """One episode as a line of JSON, for audit."""
    return {
        "goal": trajectory.goal.id,
        "asin": trajectory.goal.asin,
        "instruction": trajectory.goal.instruction,
        **({"stage": trajectory.goal.stage} if trajectory.goal.stage else {}),
        "sample": trajectory.sample,
        "seed": trajectory.seed,
        "score": trajectory.score,
        "success": trajectory.success,
        "return": trajectory.episode_return,
        "end": str(trajectory.end),
        "bought": trajectory.bought,
        "turns": [
            {
                "page": turn.page,
                "reply": turn.reply,
                "action": turn.action,
                "reward": turn.reward,
                "valid": turn.valid,
                "parts": turn.parts,
                "kind": turn.kind,
                "page_kind": turn.page_kind,
                "asins": list(turn.asins),
                "chosen": turn.chosen,
            }
            for turn in trajectory.turns
        ],
    }


def _mean(values: Sequence[float | bool]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
