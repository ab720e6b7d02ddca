"""V* of a collection's goals, from the store of reference returns that the whole sweep shares."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from webshop_rl.envs.types import Goal
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.training.reference import Reference
from webshop_rl.values.ensure import ensure_returns
from webshop_rl.values.estimator import estimate
from webshop_rl.values.store import ReturnStore, Sample

FORMAT = "1"  # raise it when the same key would give other returns


class VstarSource:
    """V* by goal, sampling reference episodes where the store lacks them.

    Args:
        root: folder of the store.
        key: what determines a reference return besides goal and sample index.
        collector: plays the episodes; its agent is exchanged for the reference policy.
        reference: the reference policy.
        goals: every goal that may be asked for.
        seed: of the reference episodes.
        temperature, top_p: of their sampling.
        estimator: "soft", "max" or "mean".
        beta: temperature of the soft maximum, return units.

    Attributes:
        num_played: reference episodes that this object played; the rest were in the store.
    """

    def __init__(
        self,
        root: Path,
        key: dict[str, str],
        collector: Collector,
        reference: Reference,
        goals: Sequence[Goal],
        *,
        seed: int,
        temperature: float,
        top_p: float,
        estimator: str,
        beta: float,
    ) -> None:
        identity = key | {"seed": str(seed), "temperature": str(temperature), "top_p": str(top_p)}
        self._store = ReturnStore(root).open(identity | {"format": FORMAT})
        self._collector, self._reference = collector, reference
        self._goals = {goal.id: goal for goal in goals}
        self._seed, self._temperature, self._top_p = seed, temperature, top_p
        self._estimator, self._beta = estimator, beta
        self.num_played = 0

    def of(self, goals: Sequence[Goal], num_samples: int) -> dict[str, float]:
        """V* of each goal from its first num_samples reference returns, return units."""
        returns = ensure_returns(self._store, [goal.id for goal in goals], num_samples, self._sample)
        return {
            goal: float(estimate(np.asarray(r), estimator=self._estimator, beta=self._beta))
            for goal, r in returns.items()
        }

    def _sample(self, pairs: list[tuple[str, int]]) -> list[Sample]:
        specs = [
            EpisodeSpec(self._goals[goal], index, episode_seed("vstar", self._seed, goal, index))
            for goal, index in pairs
        ]
        policy = self._collector.agent
        with self._reference.agent() as reference:
            self._collector.agent = reference
            try:
                played = self._collector.collect(specs, temperature=self._temperature, top_p=self._top_p)
            finally:
                self._collector.agent = policy
        self.num_played += len(played)
        return [
            Sample(goal, index, trajectory.episode_return, trajectory.score)
            for (goal, index), trajectory in zip(pairs, played, strict=True)
        ]


def adaptive_samples(num_samples: int, update: int, num_updates: int) -> int:
    """Reference samples in use at an update: all, half, a quarter by thirds of the run; at least 1."""
    third = min(2, 3 * update // max(1, num_updates))
    return max(1, num_samples >> third)
