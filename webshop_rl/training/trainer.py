"""The training loop: collect, learn, evaluate, save; knows no algorithm and no shop by name.

Everything a step draws is a function of the seed and the step's index, so a run resumed from a
checkpoint computes the same numbers as one that was never stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from webshop_rl.config.schema import RunConfig
from webshop_rl.distributed.ranks import Ranks
from webshop_rl.envs.types import Goal
from webshop_rl.evaluation.episodes import evaluation_specs
from webshop_rl.evaluation.policies import play_network
from webshop_rl.evaluation.records import by_stage, episode_record, rank, summarise, summarise_evaluation
from webshop_rl.preemption import Preempted, StopRequest
from webshop_rl.rollout.collector import Collector
from webshop_rl.rollout.guided import Demonstrations
from webshop_rl.rollout.types import Trajectory
from webshop_rl.storage.folders import RunFolder
from webshop_rl.tracking.tracker import Tracker
from webshop_rl.training.checkpoint import Checkpoint
from webshop_rl.training.collection import collection_metrics
from webshop_rl.training.control import permute_rewards
from webshop_rl.training.curriculum import Curriculum
from webshop_rl.training.diversity import diversity_metrics
from webshop_rl.training.energy import EnergyMeter
from webshop_rl.training.health import HealthChecks, fallen
from webshop_rl.training.keeper import CheckpointKeeper
from webshop_rl.training.learner import Learner, UpdateResult
from webshop_rl.training.measures import Cores, memory, throughput, timed
from webshop_rl.training.playing import Player
from webshop_rl.training.progress import Progress
from webshop_rl.training.reference import Reference
from webshop_rl.training.vstar import VstarSource, adaptive_samples


class Trainer:
    """Runs the loop of one run.

    Args:
        collector: plays episodes with the policy.
        learner: takes optimiser steps.
        train_goals, val_goals: of the shop's splits.
        vstar: V* of goals, or None if the algorithm needs none.
        reference: the reference policy, if it is reset (reference.reset_every); else None.
        judged_goals: goals whose reference returns decided which of them are trained on.
        config: of the run.
        tracker: where metrics go.
        folder: the run's folder.
        ranks: that train together.
        stop: tells whether the run was asked to stop.
        report: called after each update with its number and metrics, for a progress display.
        warn: called with a line for people that something may be wrong.
        say: called with a line for people.
        num_gpus: that the run trains on, in all ranks.
        notes: what a file of the weights says of them.
        guided: where episodes to be cloned come from; None if the algorithm learns from rewards.
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
        say: Callable[[str], None] = print,
        num_gpus: int = 0,
        guided: Demonstrations | None = None,
        notes: Mapping[str, str] | None = None,
        judged_goals: Sequence[Goal] = (),
        reference: Reference | None = None,
    ) -> None:
        self._collector = collector
        self._clones = guided is not None
        self._player = Player(collector, guided, train_goals, config, ranks)
        self._learner = learner
        self._vstar = vstar
        self._judged_goals = judged_goals
        self._tracker = tracker
        self._val_goals = val_goals
        self._config = config
        self._num_updates = config.planned_updates
        self._reference = reference
        self._keeper = CheckpointKeeper(folder, learner, ranks, tracker, warn, notes or {}, reference)
        self._ranks = ranks
        self._stop = stop
        self._updates_log = RunFolder(folder).updates_log
        self._report = report
        self._warn = warn
        self._say = say
        self._curriculum = Curriculum(config.curriculum) if config.curriculum.stages else None
        self._health = HealthChecks(config.health)
        self._warned = set[str]()
        self.progress = Progress()
        self._ticked = time.monotonic()
        self._cores = Cores()
        self._energy = EnergyMeter()
        self._num_gpus = num_gpus

    def resume(self) -> bool:
        """Continue from the last complete checkpoint, if there is one."""
        last = self._keeper.newest()
        if last is None:
            return False
        self.progress = Progress.of(last.state())
        self._learner.restore(last)
        self._restore_reference(last)
        self._learner.num_skipped = self.progress.num_skipped
        self._learner.skipped_in_a_row = self.progress.skipped_in_a_row
        self._health.restore(self.progress.health)
        if self._player.replay is not None:
            self._player.replay.restore(self.progress.replay)
        if self._curriculum is not None:
            self._curriculum = Curriculum(self._config.curriculum, self.progress.curriculum)
        return True

    @property
    def fallen(self) -> str:
        """How far the last validation is below the best one; "" if not far (health.fall)."""
        return fallen(self.progress.best, self.progress.last, self._config.health.fall)

    @property
    def ending(self) -> dict[str, str | int]:
        """What result and tags say of how training went; evaluation.ending puts it in words."""
        progress = self.progress
        return {"stopped": progress.stopped, "fallen": self.fallen, "restores": progress.restores}

    @property
    def stage_reached(self) -> str:
        """Name of the furthest stage of the curriculum that training has been at; "" without one."""
        return self._curriculum.reached[-1] if self._curriculum else ""

    def run(self) -> Checkpoint:
        """Train to the end; the best checkpoint by validation.

        Raises: Preempted after saving, if asked to stop.
        """
        self._keeper.sweep(self.progress.best_update)
        if self._vstar is not None and self._judged_goals and not self.progress.reference_update:
            self.progress.count_vstar(self._judged_goals, self._config.vstar.num_samples)
            self.progress.vstar_played += self._vstar.num_played
        self._ticked = time.monotonic()
        every = self._config.evaluation.every
        try:
            while True:
                if self._due(every) and self.progress.evaluated < self.progress.update:
                    self._evaluate()
                if self._in_trouble():
                    self._react()
                    continue  # a run that ends here is evaluated first
                if self._reset_due():
                    self._reset_reference()
                if self._save_due():
                    self._save()
                if self._over:
                    break
                self._iterate()
        except Preempted:
            # Raised between decisions of a collection: the weights are those of the last update. The
            # ranks raise it together (Ranks.gather_from), so they can save together.
            self._save()
            raise
        self._save()
        return self._keeper.best(self.progress.best_update)

    def _tick(self) -> None:
        """Bring time and energy up to now, a collection that is cut off included."""
        now = time.monotonic()
        self.progress.count_time(now - self._ticked, self._num_gpus, self._energy.used())
        self._ticked = now

    @property
    def _over(self) -> bool:
        """Whether the budget, of updates or of episodes, is used up, or the run was ended for trouble.

        Where groups are replaced, more episodes are played an update than were planned with.
        """
        budget = self._config.num_episodes
        out_of_episodes = budget is not None and self.progress.episodes >= budget
        return self.progress.update >= self._num_updates or out_of_episodes or bool(self.progress.stopped)

    def _due(self, every: int) -> bool:
        """Whether a boundary of `every` updates was reached or passed since the last collection."""
        update = self.progress.update
        step = self._learner.updates_per_collection
        return self._over or update // every > (update - step) // every

    def _save_due(self) -> bool:
        """Whether one more collection would leave more than checkpoint.every updates to a kill."""
        update = self.progress.update
        every = self._config.checkpoint.every
        unsaved = update + self._learner.updates_per_collection - self._keeper.saved
        return self._over or unsaved > every

    def _in_trouble(self) -> bool:
        """Whether a health check failed that the run must act on; the same in every rank."""
        if self._config.health.on_trouble == "warn" or self._over:
            return False  # at its end there is nothing to save it from
        self.progress.trouble = self._ranks.agree(self.progress.trouble)
        return bool(self.progress.trouble)

    def _react(self) -> None:
        """End the run, or go on from its best checkpoint: a function of what a checkpoint remembers."""
        progress = self.progress
        signs = ", ".join(progress.trouble)
        progress.trouble = []
        if self._config.health.on_trouble == "stop":
            progress.stopped = f"stopped at update {progress.update}: {signs}"
            self._say(progress.stopped)
            return
        if progress.best_update == progress.update:
            return
        best = self._keeper.best(progress.best_update)
        self._learner.restore(best)
        if self._reference is not None:
            progress.reference_update = Progress.of(best.state()).reference_update
        self._restore_reference(best)
        self._learner.skipped_in_a_row = progress.skipped_in_a_row = 0
        progress.restores += 1
        # The checks look at nothing that the lost updates did.
        self._health.restore([])
        progress.health = []
        self._tracker.metrics(progress.update, {"health/restored": 1.0})
        self._say(f"update {progress.update}: {signs}: going on from update {progress.best_update}, the best")

    def _reset_due(self) -> bool:
        """Whether the policy of this moment is to become the reference policy and has not yet."""
        every = self._config.reference.reset_every
        if self._reference is None or every is None or self._over or self.progress.update == 0:
            return False
        return self.progress.reference_update < self.progress.update and self._due(every)

    def _reset_reference(self) -> None:
        """Make the policy the reference policy; V* of the former one is used no more."""
        assert self._reference is not None
        self._reference.reset()
        self.progress.reference_update = self.progress.update
        self._use_reference()
        self._say(f"update {self.progress.update}: the policy of now is the reference policy")

    def _restore_reference(self, checkpoint: Checkpoint) -> None:
        """The reference policy as it was at a checkpoint."""
        if self._reference is not None:
            self._reference.load(checkpoint.reference())
            self._use_reference()

    def _use_reference(self) -> None:
        """Take V* from samples of the reference policy as it is."""
        if self._vstar is not None and self._reference is not None:
            self._vstar.use_reference(self._reference.digest() if self.progress.reference_update else "")

    @property
    def _student_share(self) -> float:
        """Of the episodes to be cloned, those that the policy plays itself; 0 where none is cloned."""
        if not self._clones:
            return 0.0
        return self._learner.algorithm.student_share_at(self.progress.update / self._num_updates)

    def _iterate(self) -> None:
        """One collection and its updates."""
        began = time.monotonic()
        config = self._config
        update = self.progress.update
        iteration = update // self._learner.updates_per_collection
        timings: dict[str, float] = {}
        with timed(timings, "time/collect_s"):
            collection = self._player.play(
                iteration,
                num_resampled=self.progress.goals_resampled,
                curriculum=self._curriculum,
                student_share=self._student_share,
            )
        trajectories = collection.trajectories
        metrics = collection_metrics(trajectories) | collection.metrics()
        if not self._clones:
            metrics |= diversity_metrics(trajectories)
        timings |= throughput(trajectories, timings["time/collect_s"])
        # Of a labelled episode there may be nothing to learn: no segment.
        goals = collection.kept_goals
        played = [t for t in collection.kept if t.turns and t.segments]
        vstar: list[float] | None = None
        if self._vstar is not None and goals:
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
        self.progress.count(trajectories)
        self.progress.count_dropped(collection, config.algo.goals_per_update)
        if self._player.replay is not None:
            self._player.replay.note(trajectories, iteration)
        if self._curriculum is not None:
            metrics |= self._advance(self._curriculum, collection.plan, trajectories)
        if self._vstar is not None:
            self.progress.count_vstar(goals, self._num_vstar_samples())
        self._learn(played, vstar, metrics, timings, began)

    def _advance(
        self, curriculum: Curriculum, plan: Sequence[int], trajectories: Sequence[Trajectory]
    ) -> dict[str, float]:
        """Let a collection that is used count for the curriculum; its metrics."""
        outcomes: dict[str, list[bool]] = {}
        for trajectory in trajectories:
            outcomes.setdefault(trajectory.goal.stage, []).append(trajectory.success)
        moved = curriculum.take(plan, outcomes)
        self.progress.curriculum = curriculum.as_json()
        if moved:
            self._say(f"update {self.progress.update}: {moved}")
        return curriculum.metrics()

    def _vstar_of(self, goals: list[Goal]) -> dict[str, float]:
        vstar = self._vstar
        number = self._num_vstar_samples()
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
        started = time.monotonic()
        # Where every group was dropped the updates count, and no step is taken.
        idle = [UpdateResult({})] * self._learner.updates_per_collection
        steps = self._learner.learn(trajectories, vstar, self.progress.update) if trajectories else idle
        for result in steps:
            # Nothing may be interrupted from here to the next boundary: weights are between updates.
            self.progress.update += 1
            now = time.monotonic()
            timings["time/learn_s"] = now - started
            timings["time/update_s"] = now - began
            everything = metrics | result.metrics
            self._record(everything, timings | memory() | self._cores.busy())
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
        flags = self._note(failed)
        self._tracker.metrics(update, metrics | flags | timings | self._consumed())
        self._tracker.flush()
        if self._ranks.is_main:
            with self._updates_log.open("a") as log:
                log.write(f"{update}\n")
        self._report(update, metrics)

    def _note(self, failed: Sequence[str]) -> dict[str, float]:
        """Warn of failed checks, the first time; remember what is to be acted on. Returns: metrics."""
        for name in sorted(set(failed) - self._warned):
            self._warned.add(name)
            self._warn(f"update {self.progress.update}: {self._health.advice(name)}")
        acted_on = {*self.progress.trouble, *failed} & {*self._config.health.trouble}
        if self._config.health.on_trouble != "warn":
            self.progress.trouble = sorted(acted_on)
        return {f"health/{name}": 1.0 for name in failed}

    def _consumed(self) -> dict[str, float]:
        drops = self._config.collection.equal_groups != "keep"
        return self.progress.consumed(with_vstar=self._vstar is not None, with_dropped=drops)

    def _evaluate(self) -> None:
        """Validate; remember the best by `rank`, the earliest of equals."""
        config = self._config.evaluation
        update = self.progress.update
        curriculum = self._curriculum
        goals = [g for g in self._val_goals if curriculum is None or g.stage in curriculum.reached]
        specs = evaluation_specs(goals, config.val_episodes, config.seed)
        timings: dict[str, float] = {}
        with timed(timings, "time/eval_s"):
            played = play_network(self._collector, specs, config.temperature, self._ranks)
            records = [episode_record(t) for t in played]
            means = summarise_evaluation(records)
        metrics = {f"val/{name}": value for name, value in means.items()}
        score: tuple[float, ...] = rank(means)
        if curriculum is not None:
            success = {name: summarise(own)["success"] for name, own in by_stage(records).items()}
            metrics |= curriculum.evaluated(success)
            self.progress.curriculum = curriculum.as_json()
            # A policy that has come further is better than one that is better at fewer stages.
            score = (curriculum.state.reached, *score)
        self.progress.last = score
        if score > self.progress.best or not self.progress.best:
            self.progress.best_update = update
            self.progress.best = score
        flags = self._note(["fallen"] if self.fallen else [])
        self._tracker.metrics(update, metrics | flags | timings)
        self._report(update, metrics)
        if curriculum is not None:
            self._say(f"update {update}: {curriculum.describe(success)}")
        self.progress.evaluated = update
        if self.progress.best_update == update:
            self._save()

    def _save(self) -> None:
        """Write a checkpoint of this update, unless there is one; every rank calls it."""
        if self._keeper.saved == self.progress.update:
            return
        # The journal is on disk first: a checkpoint must never know more than the record.
        self._tracker.flush()
        self._tick()
        if self._player.replay is not None:
            self.progress.replay = self._player.replay.state()
        self._keeper.save(self.progress)
