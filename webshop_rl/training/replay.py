"""Replay: the best trajectory that each goal has had so far, played back where a group does worse.

Of a trajectory no more is kept than what its policy decided, tokens with their log-probs: goal, seed and
decisions fix the rest, so it is played again in the shop when it is wanted, and all fits in a checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from webshop_rl.algos.advantages import EQUAL_RTOL
from webshop_rl.config.schema import RunConfig
from webshop_rl.errors import UserError
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.collection import renamed_prompter


@dataclass(frozen=True)
class Kept:
    """What is kept of a trajectory; a checkpoint has it as JSON.

    Attributes:
        sample, seed: of its EpisodeSpec.
        iteration: index of the collection that it is from.
        episode_return: return units.
        tokens, logprobs: of its decisions in order, with blanks between them: a line each in the checkpoint.
    """

    sample: int
    seed: int
    iteration: int
    episode_return: float
    tokens: str
    logprobs: str

    @classmethod
    def of(cls, trajectory: Trajectory, iteration: int) -> Kept:
        """Of a trajectory that the policy played in a collection."""
        decisions = [
            (token, logprob)
            for segment in trajectory.segments
            for token, logprob, decided in zip(
                segment.tokens, segment.logprobs, segment.decision, strict=True
            )
            if decided
        ]
        return cls(
            sample=trajectory.sample,
            seed=trajectory.seed,
            iteration=iteration,
            episode_return=trajectory.episode_return,
            tokens=" ".join(str(token) for token, _ in decisions),
            logprobs=" ".join(repr(logprob) for _, logprob in decisions),
        )

    @property
    def decisions(self) -> list[tuple[int, float]]:
        """Tokens and their log-probs, to the last bit as they were."""
        return [
            (int(token), float(logprob))
            for token, logprob in zip(self.tokens.split(), self.logprobs.split(), strict=True)
        ]


class Replay:
    """Keeps the best trajectory of each goal.

    Args:
        collector: in whose shop they are played back.
        config: of the run; its seed and `rollout.rename` give a collection's words their names.
    """

    def __init__(self, collector: Collector, config: RunConfig) -> None:
        self._collector = collector
        self._config = config
        self._kept: dict[str, Kept] = {}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {goal: asdict(kept) for goal, kept in self._kept.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._kept = {goal: Kept(**kept) for goal, kept in state.items()}

    def better(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """Kept trajectories that returned more than all that were played for their goals, beyond rounding.

        Args:
            trajectories: of a collection.
        Raises: UserError if one cannot be played back.
        """
        found = []
        for group in _groups(trajectories).values():
            goal = group[0].goal
            kept = self._kept.get(goal.id)
            top = max(t.episode_return for t in group)
            if kept is None or kept.episode_return <= top:
                continue
            if not math.isclose(kept.episode_return, top, rel_tol=EQUAL_RTOL):
                spec = EpisodeSpec(goal, kept.sample, kept.seed, partial_credit=True)
                rename, seed = self._config.rollout.rename, self._config.seed
                prompter = renamed_prompter(self._collector.prompter, rename, kept.iteration, seed)
                trajectory = self._collector.play_back(spec, kept.decisions, prompter=prompter)
                if trajectory.episode_return != kept.episode_return:
                    raise UserError(
                        f"the shop answers otherwise than before: an episode of {goal.id} returned "
                        f"{kept.episode_return:g}, and {trajectory.episode_return:g} now",
                        where="collection.replay_best",
                        remedy="restore the shop's data, or rerun=true",
                    )
                found.append(trajectory)
        return found

    def note(self, trajectories: Sequence[Trajectory], iteration: int) -> None:
        """Keep the best that were played in a collection; of equals the latest, nearest to the policy."""
        for goal, group in _groups(trajectories).items():
            best = max((t for t in group if t.turns), key=lambda t: t.episode_return, default=None)
            kept = self._kept.get(goal)
            if best is not None and (kept is None or best.episode_return >= kept.episode_return):
                self._kept[goal] = Kept.of(best, iteration)


def _groups(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    groups: dict[str, list[Trajectory]] = {}
    for trajectory in trajectories:
        groups.setdefault(trajectory.goal.id, []).append(trajectory)
    return groups
