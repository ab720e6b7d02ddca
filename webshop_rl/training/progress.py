"""How far a run has come: what a checkpoint remembers besides tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from webshop_rl.envs.types import Goal
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.sampling import Collection


@dataclass
class Progress:
    """What a checkpoint remembers besides tensors.

    Attributes:
        update: optimiser steps done.
        evaluated: last update that was evaluated, -1 for none.
        best_update, best: of the best evaluation: its update, and evaluation.records.rank of it.
        last: the same of the last evaluation.
        num_skipped: optimiser steps skipped.
        skipped_in_a_row: of these, the last without a step in between; a checkpoint of before it was
            kept counts as 0.
        train_s: wall time spent in the loop, all attempts together.
        gpu_s: the same times the GPUs of each attempt; 0 on a CPU.
        energy_j: joules by source (training.energy), of those that every attempt could read.
        episodes, env_steps, tokens: of the collections so far: episodes played, those of dropped groups
            included, turns taken, and tokens of replies (those without an alternative included).
        episodes_dropped: of these episodes, those whose group was left out for its equal returns.
        goals_resampled: goals played in the place of dropped ones.
        vstar_samples: reference episodes that V* of each goal was estimated from, by goal id and reference.
        vstar_played: reference episodes that this run played itself, as far as checkpoints know: those that
            an interrupted collection added to the store are not among them.
        health: state of the health checks.
        trouble: health checks that failed since the last boundary and that the run is to act on.
        stopped: why the run was ended before its last update; "" if it was not.
        restores: how often it went on from its best checkpoint.
        reference_update: update whose policy is the reference policy; 0 is the initial one.
        curriculum: state of the curriculum; empty without one.
        replay: the best trajectory of each goal; empty unless collection.replay_best.
    """

    update: int = 0
    evaluated: int = -1
    best_update: int = -1
    best: tuple[float, ...] = ()
    last: tuple[float, ...] = ()
    num_skipped: int = 0
    skipped_in_a_row: int = 0
    train_s: float = 0.0
    gpu_s: float = 0.0
    energy_j: dict[str, float] = field(default_factory=dict)
    episodes: int = 0
    env_steps: int = 0
    tokens: int = 0
    episodes_dropped: int = 0
    goals_resampled: int = 0
    vstar_samples: dict[str, int] = field(default_factory=dict)
    vstar_played: int = 0
    health: list[dict[str, float]] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    stopped: str = ""
    restores: int = 0
    reference_update: int = 0
    curriculum: dict[str, Any] = field(default_factory=dict)
    replay: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """From what a checkpoint has of it; what an older one lacks is as at the start."""
        tuples = {name: tuple(state.get(name, ())) for name in ("best", "last")}
        return cls(**{**state, **tuples})

    def count(self, trajectories: Sequence[Trajectory]) -> None:
        """Add a collection to what the run has played."""
        self.episodes += len(trajectories)
        self.env_steps += sum(len(t.turns) for t in trajectories)
        self.tokens += sum(t.num_action_tokens for t in trajectories)

    def count_time(self, seconds: float, num_gpus: int, joules: Mapping[str, float]) -> None:
        """Add wall time, and the energy that was used in it, by source."""
        # What an attempt could not read is not known of the run.
        before = self.energy_j if self.train_s else dict.fromkeys(joules, 0.0)
        self.energy_j = {name: before[name] + used for name, used in joules.items() if name in before}
        self.train_s += seconds
        self.gpu_s += num_gpus * seconds

    def count_dropped(self, collection: Collection, num_goals: int) -> None:
        """Note what of a collection is not learnt from, and what was played in its place.

        Args:
            num_goals: that a collection has if none is replaced.
        """
        self.episodes_dropped += collection.num_dropped
        self.goals_resampled += len(collection.goals) - num_goals

    def count_vstar(self, goals: Sequence[Goal], num_samples: int) -> None:
        """Note how many reference episodes V* of a collection's goals was estimated from."""
        for goal in goals:
            # Each reference policy plays samples of its own.
            name = f"{goal.id} of update {self.reference_update}" if self.reference_update else goal.id
            self.vstar_samples[name] = max(num_samples, self.vstar_samples.get(name, 0))

    def consumed(self, *, with_vstar: bool, with_dropped: bool = False) -> dict[str, float]:
        """What the run has played so far, and what it took, as metrics."""
        found: dict[str, float] = {
            "train/episodes": self.episodes,
            "train/env_steps": self.env_steps,
            "train/tokens": self.tokens,
            "vstar/episodes": sum(self.vstar_samples.values()),
            "time/train_s": self.train_s,
            "time/gpu_hours": self.gpu_s / 3600,
        }
        found |= {f"system/{name}_energy_wh": joules / 3600 for name, joules in self.energy_j.items()}
        if with_dropped:
            found["train/episodes_dropped"] = self.episodes_dropped
        if with_vstar:
            found["system/vstar_episodes_played"] = self.vstar_played
        return found
