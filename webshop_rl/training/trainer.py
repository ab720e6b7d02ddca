"""The training loop: collect, learn, evaluate, save; knows no algorithm and no shop by name.

Everything a step draws is a function of the seed and the step's index, so a run resumed from a
checkpoint computes the same numbers as one that was never stopped.
"""

from __future__ import annotations

import contextlib
import functools
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch

from webshop_rl.config.schema import RunConfig
from webshop_rl.envs.types import Goal
from webshop_rl.errors import UserError
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.evaluation.policies import play_network
from webshop_rl.evaluation.records import episode_record, summarise_evaluation
from webshop_rl.models.initial import notes_of
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.guided import GuidedCollector
from webshop_rl.rollout.types import Trajectory
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.checkpoint import (
    Checkpoint,
    find_checkpoints,
    sweep_away,
    write_checkpoint,
)
from webshop_rl.training.collection import (
    collection_metrics,
    goals_of,
    group_specs,
    renamed_prompter,
    renamed_transcripts,
)
from webshop_rl.training.control import permute_rewards
from webshop_rl.training.health import HealthChecks
from webshop_rl.training.learner import Learner
from webshop_rl.training.preemption import Preempted, StopRequest
from webshop_rl.training.ranks import Ranks
from webshop_rl.training.vstar import VstarSource, adaptive_samples


@dataclass
class Progress:
    """What a checkpoint remembers besides tensors.

    Attributes:
        update: optimiser steps done.
        evaluated: last update that was evaluated, -1 for none.
        best_update, best: of the best evaluation: its update, and (success, score, return).
        num_skipped: optimiser steps skipped.
        skipped_in_a_row: of these, the last without a step in between; a checkpoint of before it was
            kept counts as 0.
        train_s: wall time spent in the loop, all attempts together.
        gpu_s: the same times the GPUs of each attempt; 0 on a CPU.
        episodes, env_steps, tokens: that the updates so far were learnt from: episodes, turns taken, and
            tokens of replies (those that the grammar left no choice about included).
        vstar_samples: reference episodes that V* of each goal was estimated from, by goal id.
        vstar_played: reference episodes that this run played itself, as far as checkpoints know: those that
            an interrupted collection added to the store are not among them.
        health: state of the health checks.
    """

    update: int = 0
    evaluated: int = -1
    best_update: int = -1
    best: tuple[float, ...] = ()
    num_skipped: int = 0
    skipped_in_a_row: int = 0
    train_s: float = 0.0
    gpu_s: float = 0.0
    episodes: int = 0
    env_steps: int = 0
    tokens: int = 0
    vstar_samples: dict[str, int] = field(default_factory=dict)
    vstar_played: int = 0
    health: list[dict[str, float]] = field(default_factory=list)


class Trainer:
    """Runs the loop of one run.

    Args:
        collector: plays episodes with the policy.
        learner: takes optimiser steps.
        train_goals, val_goals: of the shop's splits.
        vstar: V* of goals, or None if the algorithm needs none.
        config: of the run.
        tracker: where metrics go.
        folder: the run's folder.
        ranks: that train together.
        stop: tells whether the run was asked to stop.
        report: called after each update with its number and metrics, for a progress display.
        warn: called with a line for people.
        num_gpus: that the run trains on, in all ranks.
        guided: collects episodes with a demonstrator's labels; None if the algorithm learns from rewards.
    """

    def __init__(
        self,
        *,
        collector: Collector,
        learner: Learner,
        train_goals: Sequence[Goal],
        val_goals: Sequence[Goal],
        vstar: VstarSource | None,
        config: RunConfig,
        tracker: Tracker,
        folder: Path,
        ranks: Ranks,
        stop: StopRequest,
        report: Callable[[int, dict[str, float]], None],
        warn: Callable[[str], None],
        num_gpus: int = 0,
        guided: GuidedCollector | None = None,
    ) -> None:
        self._collector = collector
        self._guided = guided
        self._learner = learner
        self._vstar = vstar
        self._tracker = tracker
        self._train_goals = train_goals
        self._val_goals = val_goals
        self._config = config
        self._num_updates = config.planned_updates
        self._checkpoints = RunFolder(folder).checkpoints
        self._ranks = ranks
        self._stop = stop
        self._updates_log = RunFolder(folder).updates_log
        self._report = report
        self._warn = warn
        self._health = HealthChecks()
        self._warned = set[str]()
        self.progress = Progress()
        self._saved = self._previous = -1
        self._notes = notes_of(learner.agent)
        self._ticked = time.monotonic()
        self._num_gpus = num_gpus

    def resume(self) -> bool:
        """Continue from the last complete checkpoint, if there is one."""
        whole = find_checkpoints(self._checkpoints) if self._ranks.is_main else []
        if self._ranks.is_main:
            self._warn_of_damage(whole)
        last = self._ranks.agree(whole[-1] if whole else None)
        if last is None:
            return False
        state = last.state()
        self.progress = Progress(**{**state, "best": tuple(state["best"])})
        self._learner.restore(last)
        self._learner.num_skipped = self.progress.num_skipped
        self._learner.skipped_in_a_row = self.progress.skipped_in_a_row
        self._health.restore(self.progress.health)
        self._saved = last.update
        return True

    def _warn_of_damage(self, whole: Sequence[Checkpoint]) -> None:
        # Found by their names: digests of large weights are not computed a second time.
        complete = {checkpoint.path.name for checkpoint in whole}
        names = {path.name for path in self._checkpoints.glob("update_*")}
        damaged = ", ".join(sorted(names - complete))
        if damaged:
            whence = f"from {whole[-1].path.name}" if whole else "at update 0: no other is whole"
            self._warn(f"damaged checkpoint, left out: {damaged}; going on {whence}")

    def run(self) -> Checkpoint:
        """Train to the end; the best checkpoint by validation.

        Raises: Preempted after saving, if asked to stop.
        """
        if self._ranks.is_main:
            sweep_away(self._checkpoints, self._kept())
        self._ticked = time.monotonic()
        every = self._config.evaluation.every
        try:
            while True:
                if self._due(every) and self.progress.evaluated < self.progress.update:
                    self._evaluate()
                if self._save_due():
                    self._save()
                if self.progress.update >= self._num_updates:
                    break
                self._iterate()
        except Preempted:
            # Raised between decisions of a collection: the weights are those of the last update. The
            # ranks raise it together (Ranks.gather_from), so they can save together.
            self._save()
            raise
        self._save()
        return self._best()

    def _tick(self) -> None:
        """Bring train_s and gpu_s up to now, a collection that is cut off included."""
        now = time.monotonic()
        self.progress.train_s += now - self._ticked
        self.progress.gpu_s += self._num_gpus * (now - self._ticked)
        self._ticked = now

    def _best(self) -> Checkpoint:
        found = find_checkpoints(self._checkpoints) if self._ranks.is_main else []
        by_update = self._ranks.agree({checkpoint.update: checkpoint for checkpoint in found})
        if self.progress.best_update in by_update:
            return by_update[self.progress.best_update]
        raise UserError(
            f"the best checkpoint (update {self.progress.best_update}) is damaged or gone",
            where=str(self._checkpoints),
            remedy="restore it, or delete the run's folder and start anew",
        )

    def _due(self, every: int) -> bool:
        """Whether a boundary of `every` updates was reached or passed since the last collection."""
        update, step = self.progress.update, self._learner.updates_per_collection
        return update >= self._num_updates or update // every > (update - step) // every

    def _save_due(self) -> bool:
        """Whether one more collection would leave more than checkpoint_every updates to a kill."""
        update, step = self.progress.update, self._learner.updates_per_collection
        return update >= self._num_updates or update + step > self._saved + self._config.checkpoint.every

    def _iterate(self) -> None:
        """One collection and its updates."""
        began, config, update = time.monotonic(), self._config, self.progress.update
        iteration = update // self._learner.updates_per_collection
        goals = goals_of(self._train_goals, iteration, config.algo.goals_per_update, config.seed)
        specs = group_specs(goals, config.algo.group_size, iteration, config.seed)
        timings: dict[str, float] = {}
        with timed(timings, "time/collect_s"):
            trajectories = self._collect(specs, iteration)
        metrics = collection_metrics(trajectories)
        timings["time/episodes_per_s"] = len(trajectories) / timings["time/collect_s"]
        num_tokens = sum(t.num_action_tokens for t in trajectories)
        timings["time/tokens_per_s"] = num_tokens / timings["time/collect_s"]
        num_decisions = sum(t.num_decisions for t in trajectories)
        timings["time/decisions_per_s"] = num_decisions / timings["time/collect_s"]
        # Of a labelled episode there may be nothing to learn: no segment.
        played = [t for t in trajectories if t.turns and t.segments]
        vstar: list[float] | None = None
        if self._vstar is not None:
            with timed(timings, "time/vstar_s"):
                by_goal = self._vstar_of(goals)
            vstar = [by_goal[t.goal.id] for t in played]
            over_goals = [by_goal[goal.id] for goal in goals]
            metrics["vstar/mean"] = float(np.mean(over_goals))
            metrics["vstar/std"] = float(np.std(over_goals))
            metrics["vstar/max"] = float(np.max(over_goals))
        if config.control == "permuted_rewards":
            played = permute_rewards(played, [config.seed, iteration])
        # From here on the collection is used: the last moment at which it may be given up.
        self._ranks.check(self._stop)
        self._count(trajectories, goals)
        self._learn(played, vstar, metrics, timings, began)

    def _count(self, trajectories: Sequence[Trajectory], goals: Sequence[Goal]) -> None:
        """Add a collection to what the run has learnt from."""
        progress = self.progress
        progress.episodes += len(trajectories)
        progress.env_steps += sum(len(t.turns) for t in trajectories)
        progress.tokens += sum(t.num_action_tokens for t in trajectories)
        if self._vstar is not None:
            number = self._num_vstar_samples()
            for goal in goals:
                progress.vstar_samples[goal.id] = max(number, progress.vstar_samples.get(goal.id, 0))

    def _consumed(self) -> dict[str, float]:
        """What the run has learnt from so far, as metrics."""
        progress = self.progress
        found: dict[str, float] = {
            "train/episodes": progress.episodes,
            "train/env_steps": progress.env_steps,
            "train/tokens": progress.tokens,
            "vstar/episodes": sum(progress.vstar_samples.values()),
            "time/gpu_hours": progress.gpu_s / 3600,
        }
        if self._vstar is not None:
            found["system/vstar_episodes_played"] = progress.vstar_played
        return found

    def _collect(self, specs: list[EpisodeSpec], iteration: int) -> list[Trajectory]:
        share, rollout, guided = self._ranks.share(specs), self._config.rollout, self._guided
        if guided is None:
            prompter = renamed_prompter(
                self._collector.prompter, rollout.rename, iteration, self._config.seed
            )
            play = functools.partial(self._collector.collect, share, prompter=prompter)
            return self._ranks.gather_from(lambda: play(temperature=rollout.temperature, top_p=rollout.top_p))
        student_share = self._learner.algorithm.student_share_at(self.progress.update / self._num_updates)
        play = functools.partial(guided.collect, share, student_share=student_share)
        codec = self._collector.prompter.codec
        return self._ranks.gather_from(
            lambda: renamed_transcripts(
                play(temperature=rollout.temperature, top_p=rollout.top_p), codec, rollout.rename
            )
        )

    def _vstar_of(self, goals: list[Goal]) -> dict[str, float]:
        vstar, number = self._vstar, self._num_vstar_samples()
        assert vstar is not None
        before = vstar.num_played
        # Rank 0 alone samples; the store has room for one writer a goal.
        (found,) = self._ranks.gather_from(lambda: [vstar.of(goals, number)] if self._ranks.is_main else [])
        self.progress.vstar_played += vstar.num_played - before
        return found

    def _num_vstar_samples(self) -> int:
        vstar = self._config.vstar
        if not vstar.adaptive:
            return vstar.num_samples
        return adaptive_samples(vstar.num_samples, self.progress.update, self._num_updates)

    def _learn(
        self,
        trajectories: list[Trajectory],
        vstar: list[float] | None,
        metrics: dict[str, float],
        timings: dict[str, float],
        began: float,
    ) -> None:
        """Take the steps of a collection, which began at a time of time.monotonic()."""
        if not trajectories:
            raise UserError(
                "no episode of the collection has a turn: the first page does not fit the context",
                where="model.context_tokens",
                remedy="raise it, or lower model.max_page_tokens",
            )
        started = time.monotonic()
        for result in self._learner.learn(trajectories, vstar, self.progress.update):
            # Nothing may be interrupted from here to the next boundary: weights are between updates.
            self.progress.update += 1
            now = time.monotonic()
            timings["time/learn_s"] = now - started
            timings["time/update_s"] = now - began
            everything = metrics | result.metrics
            self._record(everything, timings | memory())
            metrics, timings = {}, {}
            began = started = time.monotonic()
            if self.progress.update >= self._num_updates:
                break
        self.progress.num_skipped = self._learner.num_skipped
        self.progress.skipped_in_a_row = self._learner.skipped_in_a_row

    def _record(self, metrics: dict[str, float], timings: dict[str, float]) -> None:
        update = self.progress.update
        self._tick()
        failed = self._health.look(metrics)
        self.progress.health = self._health.state()
        flags = {f"health/{name}": 1.0 for name in failed}
        self._tracker.metrics(
            update, metrics | flags | timings | self._consumed() | {"time/train_s": self.progress.train_s}
        )
        self._tracker.flush()
        if self._ranks.is_main:
            with self._updates_log.open("a") as log:
                log.write(f"{update}\n")
        for name in sorted(set(failed) - self._warned):
            self._warned.add(name)
            self._warn(f"update {update}: {self._health.advice(name)}")
        self._report(update, metrics)

    def _evaluate(self) -> None:
        """Validate; remember the best: success, then score, then return, the earliest of equals."""
        config, update = self._config.evaluation, self.progress.update
        specs = evaluation_specs(self._val_goals, config.val_episodes, config.seed)
        timings: dict[str, float] = {}
        with timed(timings, "time/eval_s"):
            played = play_network(self._collector, specs, config.temperature, self._ranks)
            means = summarise_evaluation([episode_record(t) for t in played])
        metrics = {f"val/{name}": value for name, value in means.items()}
        self._tracker.metrics(update, metrics | timings)
        self._report(update, metrics)
        score = (means["success"], means["score"], means["return_mean"])
        if score > self.progress.best or not self.progress.best:
            self.progress.best_update = update
            self.progress.best = score
        self.progress.evaluated = update
        if self.progress.best_update == update:
            self._save()

    def _save(self) -> None:
        """Write a checkpoint of this update, unless there is one; every rank calls it."""
        update = self.progress.update
        if self._saved == update:
            return
        # The journal is on disk first: a checkpoint must never know more than the record.
        self._tracker.flush()
        self._tick()
        timings: dict[str, float] = {}
        with timed(timings, "time/checkpoint_s"):
            weights, optimiser = self._learner.state()
            if self._ranks.is_main:
                write_checkpoint(
                    self._checkpoints, update, weights, optimiser, vars(self.progress), self._notes
                )
            self._ranks.agree(None)  # nobody looks for a checkpoint before it is there
        self._tracker.metrics(update, timings)
        # The one before stays while the run goes on, should the disk lose the newest.
        self._previous, self._saved = self._saved, update
        if self._ranks.is_main:
            sweep_away(self._checkpoints, self._kept())

    def _kept(self) -> set[int]:
        return {self._previous, self._saved, self.progress.best_update}


@contextlib.contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of a block, in seconds, under a name."""
    started = time.monotonic()
    yield
    into[name] = time.monotonic() - started


def memory() -> dict[str, float]:
    """Resident memory of the process, now and at its peak; with a GPU, the peak there since the last call."""
    found: dict[str, Any] = {
        "system/rss_mb": psutil.Process().memory_info().rss / 2**20,
        "system/rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if torch.cuda.is_available():
        found["system/gpu_mem_mb"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    return found
