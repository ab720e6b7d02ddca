"""V* of a collection's goals, from the store of reference returns that the whole sweep shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from webshop_rl.config.schema import RolloutConfig, RunConfig, VstarConfig
from webshop_rl.envs.goal_lists import by_id
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec, episode_seed
from webshop_rl.source import acting_code_digest
from webshop_rl.training.collection import goals_of
from webshop_rl.training.reference import Reference
from webshop_rl.values.ensure import ensure_returns
from webshop_rl.values.estimator import estimate
from webshop_rl.values.store import KeyedReturns, ReturnStore, Sample


@dataclass(frozen=True)
class Provenance:
    """Which code V*'s reference returns are from.

    Attributes:
        code: digest of the code that samples what is missing (source.acting_code_digest).
        reused_key: the store's folder of older samples that were taken over, "" for none.
        reused_code: digest of the code that those were sampled with.
    """

    code: str
    reused_key: str = ""
    reused_code: str = ""


def open_returns(
    root: Path, key: Mapping[str, str], *, reuse: bool, before: Provenance | None
) -> tuple[KeyedReturns, Provenance]:
    """The reference returns under a key and the code at hand, or, to reuse, a copy of other code's.

    Samples of other code are copied under a key that names both, never added to: what lies under a key
    stays what its key says.

    Args:
        root: folder of the store.
        key: what determines a sample besides the code, goal and index.
        reuse: whether samples of other code do where this code has none.
        before: of the run's last attempt, which the same code continues from the same samples.
    """
    store, code = ReturnStore(root), acting_code_digest()
    own = {**key, "code": code}
    others = _of_other_code(store, own)
    if before is not None and before.code == code:
        base = next((other for other in others if other.folder.name == before.reused_key), None)
        provenance = before
    else:
        base = None
        if reuse and store.open(own).empty:
            used = [other for other in others if before is not None and other.key["code"] == before.code]
            base = next(reversed(used or others), None)
        provenance = Provenance(code, base.folder.name, base.key["code"]) if base else Provenance(code)
    if not provenance.reused_key:
        return store.open(own), provenance
    returns = store.open(own | {"reuses": provenance.reused_key})
    if base is not None:
        returns.adopt(base)
    return returns, provenance


def _of_other_code(store: ReturnStore, key: Mapping[str, str]) -> list[KeyedReturns]:
    others = store.others(key, apart=("code", "reuses"))
    return [other for other in others if other.key.get("code", key["code"]) != key["code"]]


class VstarSource:
    """V* by goal, sampling reference episodes where the store lacks them.

    Args:
        root: folder of the store.
        key: what determines a reference return besides goal, sample index, sampling and code.
        collector: plays the episodes.
        reference: the reference policy.
        goals: every goal that may be asked for.
        vstar: the estimator, and the seed of the reference episodes.
        rollout: temperature and top_p of their sampling are read.
        reuse, before: see open_returns.
        configuration: digest of the run's configuration, so that a launch finds what it would share.
        names: see KeyedReturns.note_configuration.

    Attributes:
        num_played: reference episodes that this object played; the rest were in the store.
        provenance: which code the reference returns are from.
    """

    def __init__(
        self,
        root: Path,
        key: dict[str, str],
        collector: Collector,
        reference: Reference,
        goals: Sequence[Goal],
        *,
        vstar: VstarConfig,
        rollout: RolloutConfig,
        reuse: bool = False,
        before: Provenance | None = None,
        configuration: str = "",
        names: Mapping[str, Any] | None = None,
    ) -> None:
        sampling = {"seed": vstar.seed, "temperature": rollout.temperature, "top_p": rollout.top_p}
        identity = key | {name: str(value) for name, value in sampling.items()}
        self._root = root
        self._identity = identity
        self._names = names
        self._store, self.provenance = open_returns(root, identity, reuse=reuse, before=before)
        if configuration:
            self._store.note_configuration(configuration, names)
        self._initial = self._store
        self._collector = collector
        self._reference = reference
        self._goals = by_id(goals)
        self._vstar = vstar
        self._rollout = rollout
        self.num_played = 0

    def of(self, goals: Sequence[Goal], num_samples: int) -> dict[str, float]:
        """V* of each goal from its first num_samples reference returns, return units."""
        returns = ensure_returns(self._store, [goal.id for goal in goals], num_samples, self._sample)
        return {
            goal: float(estimate(np.asarray(r), estimator=self._vstar.estimator, beta=self._vstar.beta))
            for goal, r in returns.items()
        }

    def use_reference(self, digest: str) -> None:
        """From now on V* is of the reference policy as it is now: of samples of its own, and no others.

        Args:
            digest: of its weights, Reference.digest; "" for the initial policy.
        """
        if not digest:
            self._store = self._initial
            return
        key = {**self._identity, "reference": digest, "code": self.provenance.code}
        self._store = ReturnStore(self._root).open(key)
        if self._names:
            self._store.note_configuration(f"reference-{digest}", self._names)

    def with_spread(self, goals: Sequence[Goal], num_samples: int, min_spread: float) -> list[Goal]:
        """The goals whose first num_samples reference returns have min_spread as standard deviation or more.

        Raises: UserError if none has, or none of a curriculum's stage.
        """
        returns = ensure_returns(self._store, [goal.id for goal in goals], num_samples, self._sample)
        kept = [goal for goal in goals if np.std(returns[goal.id]) >= min_spread]
        for stage in {goal.stage for goal in goals} - {goal.stage for goal in kept}:
            raise UserError(
                f"no goal{f' of {stage}' if stage else ''} has reference returns with such a spread",
                where="vstar.min_spread",
                remedy="lower it, or raise vstar.num_samples; webshop-rl values show has the spread",
            )
        return kept

    def _sample(self, pairs: list[tuple[str, int]]) -> list[Sample]:
        specs = [
            EpisodeSpec(
                self._goals[goal],
                index,
                episode_seed("vstar", self._vstar.seed, goal, index),
                partial_credit=True,
            )
            for goal, index in pairs
        ]
        with self._reference.agent() as reference:
            played = self._collector.collect(
                specs, temperature=self._rollout.temperature, top_p=self._rollout.top_p, agent=reference
            )
        self.num_played += len(played)
        return [
            Sample(goal, index, trajectory.episode_return, trajectory.score)
            for (goal, index), trajectory in zip(pairs, played, strict=True)
        ]


def samples_needed(config: RunConfig, goals: Sequence[Goal]) -> dict[str, int]:
    """How many reference samples of each goal a run will look at, before it begins.

    Where that follows from what is played (a curriculum, groups that are replaced) or every goal is judged
    (vstar.min_spread): all of them.

    Args:
        goals: its training goals.
    Returns: samples by goal id, of goals that are needed.
    """
    vstar = config.vstar
    algo = config.algo
    every = config.curriculum.stages or config.collection.equal_groups == "resample" or vstar.min_spread > 0
    if every:
        return {goal.id: vstar.num_samples for goal in goals}
    step = algo.num_epochs * algo.num_minibatches
    needed: dict[str, int] = {}
    for update in range(0, config.planned_updates, step):
        number = vstar.num_samples
        if vstar.adaptive:
            number = adaptive_samples(number, update, config.planned_updates)
        for goal in goals_of(goals, update // step, algo.goals_per_update, config.seed, by=config.goals_by):
            needed[goal.id] = max(number, needed.get(goal.id, 0))
    return needed


def adaptive_samples(num_samples: int, update: int, num_updates: int) -> int:
    """Reference samples in use at an update: all, half, a quarter by thirds of the run; at least 1."""
    third = min(2, 3 * update // max(1, num_updates))
    return max(1, num_samples >> third)
