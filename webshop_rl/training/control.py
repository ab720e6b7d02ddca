"""A control experiment: rewards dealt across goals. What still seems to be learnt is a leak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from webshop_rl.rollout.types import Trajectory


def permute_rewards(trajectories: Sequence[Trajectory], seed: Sequence[int]) -> list[Trajectory]:
    """Give every trajectory the return of one of another goal, on its last turn.

    The episodes and the spread of returns stay as they are; only the tie between what was done for a
    goal and what was earned is cut.

    Args:
        trajectories: a collection, each with at least one turn.
        seed: of the permutation.
    """
    random = np.random.default_rng(list(seed))
    dealt = []
    for trajectory in trajectories:
        others = [t.episode_return for t in trajectories if t.goal.id != trajectory.goal.id]
        others = others or [t.episode_return for t in trajectories]
        turns = [replace(turn, reward=0.0) for turn in trajectory.turns]
        turns[-1].reward = others[random.integers(len(others))]
        dealt.append(replace(trajectory, turns=turns))
    return dealt
