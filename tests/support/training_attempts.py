"""A run of the trainer with stand-ins, attempt by attempt, and what it left in its folder."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.shop5_parts import composed
from tests.support.training_stand_ins import (
    Crashes,
    JournalTracker,
    StandInCollector,
    StandInLearner,
    StandInNetwork,
    StandInVstar,
)
from webshop_rl.config import RunConfig
from webshop_rl.config.load import as_typed
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import Goal
from webshop_rl.preemption import StopRequest
from webshop_rl.tracking.names import is_wall_clock
from webshop_rl.tracking.rows import read_rows
from webshop_rl.training.checkpoint import find_checkpoints
from webshop_rl.training.reference import Reference
from webshop_rl.training.trainer import Trainer

NUM_UPDATES = 10
RISING = [0.02] * 40


# Success is 1 at update 4 and 0 at update 6, and falls once more where it goes on from there.
FALL = [0.2, 0.2, 0.2, 0.0, -0.4, -0.6, -0.5, -0.5] + [0.0] * 30


# Best in the middle, so that the best checkpoint is neither the first nor the last.
HUMP = [0.2, 0.2, 0.2, 0.1, -0.2, -0.1, -0.1, -0.1, 0.0, 0.0] + [0.0] * 30


CONFIG = as_typed(
    composed(
        "seed=3",
        f"num_updates={NUM_UPDATES}",
        "algo.goals_per_update=2",
        "algo.group_size=3",
        "rollout.temperature=0.7",
        "evaluation={every: 4, val_episodes: 25, temperature: 0.0, seed: 1}",
        "checkpoint.every=3",
    )
)


def run_config(**changes: Any) -> RunConfig:
    """The configuration of these runs with some keys changed; a dot is written as two underscores."""
    config = copy.deepcopy(CONFIG)
    for key, value in changes.items():
        *sections, name = key.split("__")
        setattr(functools.reduce(getattr, sections, config), name, value)
    return config


class Attempt:
    """One process of a run, from start to end or crash."""

    def __init__(
        self,
        folder: Path,
        crashes: Crashes | None = None,
        *,
        per_collection: int = 1,
        path: list[float] = RISING,
        vstar: bool = False,
        num_gpus: int = 0,
        goals: Sequence[Goal] | None = None,
        **settings: Any,
    ) -> None:
        crashes = crashes or Crashes()
        network = StandInNetwork()
        self.collector = StandInCollector(network, crashes)
        self.tracker = JournalTracker(folder, crashes)
        self.said: list[str] = []
        self.announced: list[str] = []
        goals = goals or Shop5().goals("train")
        config = run_config(**settings)
        policy: Any = SimpleNamespace(network=network, has_adapters=False)
        self.reference = None if config.reference.reset_every is None else Reference(policy)
        self.trainer = Trainer(
            collector=self.collector,  # type: ignore[arg-type]
            learner=StandInLearner(network, crashes, per_collection, path),  # type: ignore[arg-type]
            train_goals=goals,
            val_goals=goals,
            vstar=StandInVstar(folder, crashes) if vstar else None,  # type: ignore[arg-type]
            config=config,
            tracker=self.tracker,
            folder=folder,
            ranks=Ranks(),
            stop=StopRequest(),
            report=lambda update, metrics: None,
            warn=self.said.append,
            say=self.announced.append,
            num_gpus=num_gpus,
            reference=self.reference,
        )

    def run(self) -> int:
        """The best update."""
        self.trainer.resume()
        best = self.trainer.run()
        self.tracker.journal.flush()  # the one test that follows a run does
        return best.update


def _metric_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for row in read_rows(folder / "journal.jsonl") if row["kind"] == "metrics"]


def history(folder: Path) -> dict[tuple[str, int], float]:
    """Every metric value of a run but wall-clock ones; a (name, step) twice is an error."""
    found: dict[tuple[str, int], float] = {}
    for row in _metric_rows(folder):
        for name, value in row["metrics"].items():
            assert (name, row["step"]) not in found
            if not is_wall_clock(name):
                found[name, row["step"]] = value
    return found


def series(folder: Path, name: str) -> dict[int, float]:
    return {row["step"]: row["metrics"][name] for row in _metric_rows(folder) if name in row["metrics"]}


def metric(folder: Path, name: str) -> list[float]:
    """Values of a metric in the journal, in order of their steps."""
    rows = [row for row in _metric_rows(folder) if name in row["metrics"]]
    return [row["metrics"][name] for row in sorted(rows, key=lambda row: row["step"])]


def kept(folder: Path) -> list[int]:
    return [c.update for c in find_checkpoints(folder / "checkpoints")]


def updates(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "updates.log").read_text().split()]


def resumed_after_dying_anywhere(
    root: Path, kind: type[BaseException], *, attempt: type[Attempt] = Attempt, every: int = 1, **options: Any
) -> Iterator[tuple[Path, Attempt, Attempt]]:
    """Let a run die at each point it may die at, resume it, and see that it is the same run.

    Args:
        kind: what it dies of.
        every: only each so many points.
        options: of the attempts.
    Yields: the folder, the attempt that resumed, and one that was not disturbed.
    """
    calm = root / "calm"
    points = Crashes(kind=kind)
    undisturbed = attempt(calm, points, **options)
    best = undisturbed.run()
    for at in range(1, points.count + 1, every):
        folder = root / str(at)
        with pytest.raises(kind):
            attempt(folder, Crashes(at, kind), **options).run()
        again = attempt(folder, **options)
        assert again.run() == best
        assert history(folder) == history(calm), f"died at {at}"
        assert not again.tracker.journal.mismatches
        yield folder, again, undisturbed
