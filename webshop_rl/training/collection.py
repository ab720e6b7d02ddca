"""A training collection: its episodes, drawn without state so that a resumed run draws the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from webshop_rl.envs.goal_lists import by_product
from webshop_rl.envs.types import Goal
from webshop_rl.evaluation.records import episode_record, summarise
from webshop_rl.interface.codec import Codec
from webshop_rl.interface.prompts import Prompter
from webshop_rl.models.renaming import RenamedCodec, Renaming
from webshop_rl.models.tiny_codec import TinyCodec
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.rollout.renaming import rename_trajectory
from webshop_rl.rollout.types import Trajectory


def goals_of(
    goals: Sequence[Goal], iteration: int, num_goals: int, seed: int, *, by: str = "goal"
) -> list[Goal]:
    """The goals of a collection: each pass over all goals, or over all products, is a new permutation.

    Args:
        goals: the training split.
        iteration: 0-based index of the collection.
        num_goals: goals in a collection.
        seed: of the permutations.
        by: "goal": all goals weigh alike | "product": all products do, and within one all its goals.
    """
    return goals_at(goals, range(iteration * num_goals, (iteration + 1) * num_goals), seed, by=by)


def goals_at(goals: Sequence[Goal], places: range, seed: int, *, by: str = "goal") -> list[Goal]:
    """The goals at places of the endless sequence of permutations that goals_of draws from."""
    units: Sequence[Sequence[Goal]] | None = by_product(goals) if by == "product" else None
    num_units = len(goals) if units is None else len(units)
    orders: dict[int, np.ndarray] = {}  # of each pass that the places touch: mostly one
    chosen = []
    for place in places:
        passes, index = divmod(place, num_units)
        if passes not in orders:
            orders[passes] = np.random.default_rng([seed, passes]).permutation(num_units)
        number = int(orders[passes][index])
        if units is None:
            chosen.append(goals[number])
            continue
        own = units[number]
        # Its goals in turn, in a new order each time that all had theirs.
        rounds, turn = divmod(passes, len(own))
        order = np.random.default_rng([seed, rounds, number]).permutation(len(own)) if len(own) > 1 else [0]
        chosen.append(own[int(order[turn])])
    return chosen


def group_specs(
    goals: Sequence[Goal], group_size: int, iteration: int, seed: int, *, first: int = 0
) -> list[EpisodeSpec]:
    """The episodes of a collection, each goal's group together, each episode with a seed of its own.

    Args:
        first: goals of the collection that were played before these.
    """
    return [
        EpisodeSpec(
            goal,
            sample,
            episode_seed("train", seed, iteration, place, goal.id, sample),
            partial_credit=True,
        )
        for place, goal in enumerate(goals, first)
        for sample in range(group_size)
    ]


def renamed_prompter(prompter: Prompter, probability: float, iteration: int, seed: int) -> Prompter:
    """The prompter of a collection: with some probability, its words have other names, drawn for it alone.

    Args:
        prompter: with the words' own names.
        probability: `rollout.rename`.
        iteration: 0-based index of the collection.
        seed: of the names.
    """
    renaming = _drawn(prompter.codec, probability, episode_seed("rename", seed, iteration))
    return prompter if renaming is None else replace(prompter, codec=RenamedCodec(prompter.codec, renaming))


def renamed_transcripts(
    trajectories: Sequence[Trajectory], codec: Codec, probability: float
) -> list[Trajectory]:
    """Finished trajectories, each with some probability under names of its own; see rename_trajectory.

    Args:
        trajectories: to be cloned.
        codec: of their tokens.
        probability: `rollout.rename`.
    """
    drawn = [_drawn(codec, probability, episode_seed("rename", t.seed)) for t in trajectories]
    return [
        trajectory if renaming is None else rename_trajectory(trajectory, renaming)
        for trajectory, renaming in zip(trajectories, drawn, strict=True)
    ]


def _drawn(codec: Codec, probability: float, seed: int) -> Renaming | None:
    rng = np.random.default_rng(seed)
    if rng.random() >= probability:
        return None
    assert isinstance(codec, TinyCodec)  # PretrainedConfig refuses the key
    return Renaming.draw(codec, rng)


def collection_metrics(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    """What is logged of a training collection, under its full names."""
    means = summarise([episode_record(t) for t in trajectories])
    num_turns = sum(len(t.turns) for t in trajectories)
    means["return_std"] = float(np.std([t.episode_return for t in trajectories]))
    means["reply_tokens"] = sum(t.num_action_tokens for t in trajectories) / max(1, num_turns)
    means["reply_decisions"] = sum(t.num_decisions for t in trajectories) / max(1, num_turns)
    means["reply_cut_frac"] = sum(t.num_replies_cut for t in trajectories) / max(1, num_turns)
    return {f"train/{name}": value for name, value in means.items()}
