"""Stand-ins of a few lines for what a trainer works with, each of which may be killed at every step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.tracking.journal import Journal
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.learner import UpdateResult


class Killed(BaseException):
    """The process is gone at once."""


class Crashes:
    """Counts the places where a process may die, and dies at one of them.

    A signal is answered between decisions only, a kill comes anywhere.
    """

    def __init__(self, at: int = -1, kind: type[BaseException] = Killed) -> None:
        self.at, self.kind, self.count = at, kind, 0

    def may_come(self, *, deciding: bool = False) -> None:
        if self.kind is Preempted and not deciding:
            return
        self.count += 1
        if self.count == self.at:
            raise self.kind("now")


class StandInNetwork(nn.Module):
    """One weight; its value is how good the policy is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, dtype=torch.double))


class StandInCollector:
    """Episodes whose returns are a function of the weight, the goal and the episode's seed."""

    def __init__(self, network: StandInNetwork, crashes: Crashes) -> None:
        self._network, self._crashes = network, crashes
        self.temperatures: list[float] = []
        self.prompter = SimpleNamespace(codec=None)

    def collect(
        self, specs: Sequence[EpisodeSpec], *, temperature: float, top_p: float = 1.0, prompter: Any = None
    ) -> list[Trajectory]:
        self._crashes.may_come(deciding=True)
        self.temperatures.append(temperature)
        skill = float(self._network.weight.detach())
        made = []
        for spec in specs:
            score = float(spec.seed % 1000 / 1000 < skill)
            turn = Turn("", spec.goal.id, "", score + skill, True)
            logprobs = [0.0, -1.0, -1.0]
            segment = Segment([1, 2, 3], [False, True, True], [False, True, True], logprobs, [-1, 0, 0])
            made.append(
                Trajectory(spec.goal, spec.sample, spec.seed, [segment], [turn], score, EndReason.BOUGHT)
            )
        return made


class StandInLearner:
    """Each step moves the weight by a function of the returns and of the optimiser's own state."""

    def __init__(
        self, network: StandInNetwork, crashes: Crashes, per_collection: int, path: list[float]
    ) -> None:
        self.network, self._crashes, self._path = network, crashes, path
        self.updates_per_collection = per_collection
        self.num_skipped = self.skipped_in_a_row = 0
        self.optimiser = torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.5)

    def learn(self, trajectories: Sequence[Trajectory], vstar: Any, update: int) -> Iterator[UpdateResult]:
        mean = sum(t.episode_return for t in trajectories) / len(trajectories)
        for step in range(self.updates_per_collection):
            self.optimiser.zero_grad()
            (self.network.weight * (-self._path[update + step] + 0.001 * mean)).sum().backward()
            self.optimiser.step()
            # Every third update steps, the two before it are skipped.
            skipped = (update + step) % 3 != 2
            self.num_skipped += skipped
            self.skipped_in_a_row = self.skipped_in_a_row + 1 if skipped else 0
            yield UpdateResult(
                {
                    "optim/loss": mean,
                    "optim/grad_norm": float(self.network.weight.detach()),
                    "optim/skipped_steps": self.num_skipped + 0.01 * self.skipped_in_a_row,
                }
            )

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        return {"weight": self.network.weight.detach().clone()}, self.optimiser.state_dict()

    def restore(self, checkpoint: Any) -> None:
        self._crashes.may_come()
        checkpoint.load(self.network, self.optimiser)


class StandInVstar:
    """Counts what is asked for; what was sampled stays in a folder that attempts share, as in the store."""

    def __init__(self, folder: Path, crashes: Crashes) -> None:
        self._store, self._crashes, self.num_played = folder / "vstar.json", crashes, 0
        self._reference = ""

    def use_reference(self, digest: str) -> None:
        """What is known of another reference counts for nothing."""
        self._reference = digest

    def of(self, goals: Sequence[Goal], num_samples: int) -> dict[str, float]:
        self._crashes.may_come(deciding=True)
        known = json.loads(self._store.read_text()) if self._store.exists() else {}
        for goal in goals:
            name = goal.id + self._reference
            lacking = max(0, num_samples - known.get(name, 0))
            known[name] = known.get(name, 0) + lacking
            self.num_played += lacking
            self._store.write_text(json.dumps(known))
            self._crashes.may_come(deciding=True)
        value = int(self._reference[:4] or "8000", 16) / 0xFFFF
        return {goal.id: value for goal in goals}


class JournalTracker(Tracker):
    """The journal alone, and the risk of dying before and after it is on disk."""

    def __init__(self, folder: Path, crashes: Crashes) -> None:
        self.journal, self._crashes = Journal(folder), crashes

    def metrics(self, step: int, values: Any) -> None:
        self.journal.metrics(step, values)

    def flush(self) -> None:
        self._crashes.may_come()
        self.journal.flush()
        self._crashes.may_come()
