"""What a training collection consists of, and which of its groups are learnt from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from webshop_rl.algos.advantages import group_statistics
from webshop_rl.envs.types import Goal
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.batching import group_numbers


@dataclass
class Collection:
    """A collection while it is played, round by round.

    Attributes:
        drops_equal: whether groups whose returns are all equal are left out of learning.
        replays: whether trajectories of earlier collections join groups.
        goals: that were asked for, in order; one that came up twice is there twice, and its group is one.
        plan: with a curriculum, the stage of each.
        trajectories: all that were played.
        replayed: of earlier collections, each better than all that were played for its goal.
    """

    drops_equal: bool
    replays: bool = False
    goals: list[Goal] = field(default_factory=list)
    plan: list[int] = field(default_factory=list)
    trajectories: list[Trajectory] = field(default_factory=list)
    replayed: list[Trajectory] = field(default_factory=list)
    _dropped: set[str] = field(default_factory=set)

    def add(self, goals: Sequence[Goal], plan: Sequence[int], trajectories: Sequence[Trajectory]) -> None:
        """Take in a round."""
        self.goals += goals
        self.plan += plan
        self.trajectories += trajectories
        self._dropped = equal_goals(self.trajectories) if self.drops_equal else set()

    def join(self, replayed: Sequence[Trajectory]) -> None:
        """Let trajectories of earlier collections join their groups, whose returns are then not all equal."""
        self.replayed = list(replayed)
        self._dropped -= {t.goal.id for t in replayed}

    @property
    def num_dropped(self) -> int:
        """Trajectories that were played and are not learnt from."""
        return sum(t.goal.id in self._dropped for t in self.trajectories)

    @property
    def kept_goals(self) -> list[Goal]:
        """The goals whose groups are learnt from."""
        return [goal for goal in self.goals if goal.id not in self._dropped]

    @property
    def kept(self) -> list[Trajectory]:
        """The trajectories that are learnt from."""
        own = [t for t in self.trajectories if t.goal.id not in self._dropped]
        return [*own, *self.replayed]

    @property
    def dropped_stages(self) -> list[int]:
        """With a curriculum, the stage of each goal whose group is left out."""
        pairs = zip(self.goals, self.plan, strict=True)
        return [stage for goal, stage in pairs if goal.id in self._dropped]

    def metrics(self) -> dict[str, float]:
        """What was left out and what joined, under full names; nothing where nothing would."""
        found: dict[str, float] = {}
        if self.drops_equal:
            found["train/goals_played"] = len(self.goals)
            found["train/goals_dropped"] = len(self.goals) - len(self.kept_goals)
        if self.replays:
            found["train/episodes_replayed"] = len(self.replayed)
        return found


def equal_goals(trajectories: Sequence[Trajectory]) -> set[str]:
    """Ids of the goals whose group has two trajectories or more, with returns that are all equal.

    Equal as algos.advantages.group_statistics has it: within rounding.
    """
    returns = torch.tensor([t.episode_return for t in trajectories], dtype=torch.double)
    equal = group_statistics(returns, group_numbers(trajectories)).equal.tolist()
    return {t.goal.id for t, is_equal in zip(trajectories, equal, strict=True) if is_equal}
