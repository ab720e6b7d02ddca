"""The loop around collection and learning: when it evaluates and saves, and that any crash is recovered from.

Collector and learner are stand-ins of a few lines, so that a run can be killed at every single step.
"""

from __future__ import annotations

import copy
import functools
import itertools
import json
import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.support.shop5_parts import composed
from webshop_rl.config import RunConfig
from webshop_rl.config.load import as_typed
from webshop_rl.envs.shop5.shop import Shop5
from webshop_rl.envs.types import EndReason, Goal
from webshop_rl.errors import UserError
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Segment, Trajectory, Turn
from webshop_rl.tracking.journal import Journal
from webshop_rl.tracking.names import is_wall_clock
from webshop_rl.tracking.rows import read_rows
from webshop_rl.tracking.tracker import NullTracker
from webshop_rl.training import checkpoint as checkpoint_module
from webshop_rl.training.checkpoint import find_checkpoints
from webshop_rl.training.learner import UpdateResult
from webshop_rl.training.preemption import Preempted, StopRequest
from webshop_rl.training.processes import Processes
from webshop_rl.training.trainer import Trainer, memory

NUM_UPDATES = 10


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda handle: None)


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

    def collect(
        self, specs: Sequence[EpisodeSpec], *, temperature: float, top_p: float = 1.0
    ) -> list[Trajectory]:
        self._crashes.may_come(deciding=True)
        self.temperatures.append(temperature)
        skill = float(self._network.weight.detach())
        made = []
        for spec in specs:
            score = float(spec.seed % 1000 / 1000 < skill)
            turn = Turn("", "", "", score + skill, True)
            segment = Segment([1, 2, 3], [False, True, True], [False, True, True], [0.0] * 3, [-1, 0, 0])
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
        self.num_samples = 8

    def of(self, goals: Sequence[Goal], num_samples: int) -> dict[str, float]:
        self._crashes.may_come(deciding=True)
        known = json.loads(self._store.read_text()) if self._store.exists() else {}
        for goal in goals:
            lacking = max(0, num_samples - known.get(goal.id, 0))
            known[goal.id] = known.get(goal.id, 0) + lacking
            self.num_played += lacking
            self._store.write_text(json.dumps(known))
            self._crashes.may_come(deciding=True)
        return {goal.id: 0.5 for goal in goals}


class JournalTracker(NullTracker):
    """The journal alone, and the risk of dying before and after it is on disk."""

    def __init__(self, folder: Path, crashes: Crashes) -> None:
        self.journal, self._crashes = Journal(folder), crashes

    def metrics(self, step: int, values: Any) -> None:
        self.journal.metrics(step, values)

    def flush(self) -> None:
        self._crashes.may_come()
        self.journal.flush()
        self._crashes.may_come()


RISING = [0.02] * 40
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
        **settings: Any,
    ) -> None:
        crashes = crashes or Crashes()
        network = StandInNetwork()
        self.collector = StandInCollector(network, crashes)
        self.tracker = JournalTracker(folder, crashes)
        self.said: list[str] = []
        goals = Shop5().goals("train")
        self.trainer = Trainer(
            collector=self.collector,  # type: ignore[arg-type]
            learner=StandInLearner(network, crashes, per_collection, path),  # type: ignore[arg-type]
            train_goals=goals,
            val_goals=goals,
            vstar=StandInVstar(folder, crashes) if vstar else None,  # type: ignore[arg-type]
            config=run_config(**settings),
            tracker=self.tracker,
            folder=folder,
            group=Processes(),
            stop=StopRequest(),
            report=lambda update, metrics: None,
            warn=self.said.append,
            num_gpus=num_gpus,
        )

    def run(self) -> int:
        """The best update."""
        self.trainer.resume()
        best = self.trainer.run()
        self.tracker.journal.flush()  # the one test that follows a run does
        return best.update


def history(folder: Path) -> dict[tuple[str, int], float]:
    """Every metric value but wall-clock ones; a (name, step) twice is an error."""
    found: dict[tuple[str, int], float] = {}
    for row in read_rows(folder / "journal.jsonl"):
        for name, value in row.get("metrics", {}).items():
            assert (name, row["step"]) not in found
            if not is_wall_clock(name):
                found[name, row["step"]] = value
    return found


def kept(folder: Path) -> list[int]:
    return [c.update for c in find_checkpoints(folder / "checkpoints")]


def updates(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "updates.log").read_text().split()]


def test_an_undisturbed_run(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    assert attempt.run() == 10
    values = history(tmp_path)
    assert [step for name, step in values if name == "val/success"] == [0, 4, 8, 10]
    assert [step for name, step in values if name == "optim/loss"] == list(range(1, 11))
    assert kept(tmp_path) == [8, 10]  # the one before the last is there until the run is tidied
    assert updates(tmp_path) == list(range(1, 11))
    assert attempt.collector.temperatures.count(0.0) == 4
    assert attempt.collector.temperatures.count(0.7) == 10


def test_the_best_is_kept_and_is_the_earliest_of_equals(tmp_path: Path) -> None:
    assert Attempt(tmp_path, path=HUMP).run() == 4
    assert kept(tmp_path) == [4, 7, 10]
    flat = tmp_path / "flat"
    assert Attempt(flat, path=[0.0] * 40).run() == 0


@pytest.mark.parametrize("per_collection", [1, 4])
def test_a_kill_costs_no_more_than_the_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, per_collection: int
) -> None:
    """Between two checkpoints lie checkpoint.every updates at most, several a collection included."""
    saved: list[int] = []
    plain = checkpoint_module.write_checkpoint
    monkeypatch.setattr(
        "webshop_rl.training.trainer.write_checkpoint",
        lambda folder, update, *rest: (saved.append(update), plain(folder, update, *rest))[1],
    )
    settings = {"num_updates": 40, "evaluation__every": 100, "checkpoint__every": 10}
    Attempt(tmp_path, per_collection=per_collection, **settings).run()
    assert max(b - a for a, b in itertools.pairwise(saved)) <= 10
    assert len(saved) <= 7


def test_a_run_shorter_than_a_collection_stops_where_it_was_told(tmp_path: Path) -> None:
    Attempt(tmp_path, per_collection=4, num_updates=6).run()
    assert updates(tmp_path) == [1, 2, 3, 4, 5, 6]
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert Attempt(nothing, num_updates=0).run() == 0


@pytest.mark.parametrize("kind", [Killed, Preempted])
@pytest.mark.parametrize("path", [RISING, HUMP], ids=["rising", "hump"])
def test_resumed_after_dying_anywhere_it_is_the_same_run(
    tmp_path: Path, kind: type[BaseException], path: list[float]
) -> None:
    calm = tmp_path / "calm"
    calm_crashes = Crashes(kind=kind)
    best = Attempt(calm, calm_crashes, path=path).run()
    for at in range(1, calm_crashes.count + 1):
        folder = tmp_path / str(at)
        with pytest.raises(kind):
            Attempt(folder, Crashes(at, kind), path=path).run()
        again = Attempt(folder, path=path)
        assert again.run() == best
        assert history(folder) == history(calm), f"died at {at}"
        assert not again.tracker.journal.mismatches
        assert kept(folder)[-1] == NUM_UPDATES
        assert best in kept(folder)
        assert sorted(set(updates(folder))) == list(range(1, NUM_UPDATES + 1))
        assert len(updates(folder)) <= NUM_UPDATES + 3  # one kill times checkpoint.every
        if kind is Preempted:  # saved where it stood
            assert updates(folder) == list(range(1, NUM_UPDATES + 1))


def metric(folder: Path, name: str) -> list[float]:
    """Values of a metric in the journal, in order of their steps."""
    rows = [row for row in read_rows(folder / "journal.jsonl") if name in row.get("metrics", {})]
    return [row["metrics"][name] for row in sorted(rows, key=lambda row: row["step"])]


def test_what_a_run_consumed_is_counted_by_collection(tmp_path: Path) -> None:
    """Two goals, three episodes each: six a collection, whose four updates have seen the same six."""
    Attempt(tmp_path, per_collection=4, num_updates=10).run()
    assert metric(tmp_path, "train/episodes") == [6] * 4 + [12] * 4 + [18] * 2
    assert metric(tmp_path, "train/env_steps") == [6] * 4 + [12] * 4 + [18] * 2  # one turn an episode
    assert metric(tmp_path, "train/tokens") == [12] * 4 + [24] * 4 + [36] * 2  # two tokens a reply
    assert metric(tmp_path, "vstar/episodes") == [0] * 10
    assert metric(tmp_path, "time/gpu_hours") == [0] * 10


def test_reference_episodes_count_once_a_goal_and_sample(tmp_path: Path) -> None:
    """Five goals, two a collection: all have been met after three; each has eight samples from then on."""
    Attempt(tmp_path, vstar=True).run()
    assert metric(tmp_path, "vstar/episodes") == [16, 32] + [40] * 8
    assert metric(tmp_path, "system/vstar_episodes_played") == [16, 32] + [40] * 8
    # Another run with this store plays none, and learns from as many.
    other = tmp_path / "other"
    other.mkdir()
    (other / "vstar.json").write_text((tmp_path / "vstar.json").read_text())
    Attempt(other, vstar=True).run()
    assert metric(other, "vstar/episodes") == [16, 32] + [40] * 8
    assert metric(other, "system/vstar_episodes_played") == [0] * 10


def test_fewer_adaptive_samples_take_none_back(tmp_path: Path) -> None:
    Attempt(tmp_path, vstar=True, vstar__adaptive=True, num_updates=9).run()
    assert metric(tmp_path, "vstar/episodes") == [16, 32] + [40] * 7


@pytest.mark.parametrize("kind", [Killed, Preempted])
def test_what_a_run_consumed_is_exact_after_a_resume(tmp_path: Path, kind: type[BaseException]) -> None:
    options: dict[str, Any] = {"vstar": True, "vstar__adaptive": True, "per_collection": 2}
    calm = tmp_path / "calm"
    calm_crashes = Crashes(kind=kind)
    Attempt(calm, calm_crashes, **options).run()
    for at in range(1, calm_crashes.count + 1):
        folder = tmp_path / str(at)
        with pytest.raises(kind):
            Attempt(folder, Crashes(at, kind), **options).run()
        again = Attempt(folder, **options)
        again.run()
        assert not again.tracker.journal.mismatches
        for name in ("train/episodes", "train/env_steps", "train/tokens", "vstar/episodes"):
            assert metric(folder, name) == metric(calm, name), f"{name}, died at {at}"


def test_gpu_hours_are_the_time_of_training_on_each_gpu(tmp_path: Path) -> None:
    Attempt(tmp_path, num_gpus=4).run()
    hours, seconds = metric(tmp_path, "time/gpu_hours"), metric(tmp_path, "time/train_s")
    assert hours[-1] > 0
    assert hours == pytest.approx([4 * s / 3600 for s in seconds])


def test_dying_again_and_again(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder, crashes = tmp_path / "often", 0
    for _ in range(60):
        try:
            Attempt(folder, Crashes(17)).run()
            break
        except Killed:
            crashes += 1
    assert crashes > 2
    assert history(folder) == history(calm)
    assert len(updates(folder)) <= NUM_UPDATES + 3 * crashes


@pytest.mark.parametrize("moment", range(1, 20))
def test_dying_inside_a_checkpoint_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder, crashes, plain = tmp_path / "torn", Crashes(moment), checkpoint_module.sync
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint_module, "sync", lambda path: (crashes.may_come(), plain(path)))
        with pytest.raises(Killed):
            Attempt(folder).run()
    Attempt(folder).run()
    assert history(folder) == history(calm)
    assert not list((folder / "checkpoints").glob(".partial*"))


def test_a_torn_checkpoint_is_not_resumed_from(tmp_path: Path) -> None:
    calm = tmp_path / "calm"
    Attempt(calm).run()
    folder = tmp_path / "torn"
    with pytest.raises(Killed):
        Attempt(folder, Crashes(30)).run()
    *others, last = find_checkpoints(folder / "checkpoints")
    (last.path / "weights.safetensors").write_bytes(b"torn")
    again = Attempt(folder)
    assert again.run() == 10
    whence = others[-1].path.name
    assert again.said == [f"damaged checkpoint, left out: {last.path.name}; going on from {whence}"]
    assert not again.tracker.journal.mismatches
    assert history(folder) == history(calm)


def test_without_any_whole_checkpoint_it_says_that_it_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Attempt(tmp_path, Crashes(30)).run()
    for checkpoint in find_checkpoints(tmp_path / "checkpoints"):
        (checkpoint.path / "state.json").write_text("")
    again = Attempt(tmp_path)
    again.run()
    assert len(again.said) == 1
    assert again.said[0].endswith("going on at update 0: no other is whole")


def test_a_best_checkpoint_that_is_gone_is_one_line(tmp_path: Path) -> None:
    Attempt(tmp_path, path=HUMP).run()
    (tmp_path / "checkpoints" / "update_000004" / "weights.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"best checkpoint \(update 4\)"):
        Attempt(tmp_path, path=HUMP).run()


def test_a_collection_without_turns_ends_with_advice(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, evaluation__val_episodes=1)
    attempt.collector.collect = lambda specs, **_: [  # type: ignore[method-assign,assignment]
        Trajectory(s.goal, s.sample, s.seed, end=EndReason.CONTEXT) for s in specs
    ]
    with pytest.raises(UserError, match=r"model\.context_tokens"):
        attempt.run()


def test_health_warnings_are_said_once_and_logged_each_time(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, path=[0.0] * 40, num_updates=14)
    attempt.run()
    assert len([line for line in attempt.said if "no_success" in line]) == 1
    flagged = [step for name, step in history(tmp_path) if name == "health/no_success"]
    assert flagged == [10, 11, 12, 13, 14]


def test_health_checks_look_back_beyond_a_death(tmp_path: Path) -> None:
    flat: dict[str, Any] = {"path": [0.0] * 40, "num_updates": 14}
    Attempt(tmp_path / "calm", **flat).run()
    with pytest.raises(Killed):
        Attempt(tmp_path / "killed", Crashes(50), **flat).run()
    assert 8 < updates(tmp_path / "killed")[-1] < 14
    Attempt(tmp_path / "killed", **flat).run()
    assert history(tmp_path / "killed") == history(tmp_path / "calm")


def test_skipped_steps_are_counted_on_after_a_resume(tmp_path: Path) -> None:
    """A checkpoint of before skipped_in_a_row was kept counts it from 0."""
    with pytest.raises(Killed):
        Attempt(tmp_path, Crashes(30)).run()
    *_, last = find_checkpoints(tmp_path / "checkpoints")
    state = last.state() | {"num_skipped": 5, "skipped_in_a_row": 2}
    older = {k: v for k, v in state.items() if k != "skipped_in_a_row"}
    for kept_state, in_a_row in ((state, 2), (older, 0)):
        (last.path / "state.json").write_text(json.dumps(kept_state))
        digests = json.loads((last.path / "COMPLETE").read_text())
        digests["state.json"] = checkpoint_module._digest(last.path / "state.json")
        (last.path / "COMPLETE").write_text(json.dumps(digests))
        again = Attempt(tmp_path)
        assert again.trainer.resume()
        learner = again.trainer._learner
        assert (learner.num_skipped, learner.skipped_in_a_row) == (5, in_a_row)


def series(folder: Path, name: str) -> dict[int, float]:
    rows = read_rows(folder / "journal.jsonl")
    return {row["step"]: row["metrics"][name] for row in rows if name in row.get("metrics", {})}


class Clock:
    """Seconds that pass only where they are spent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("webshop_rl.training.trainer.time.monotonic", lambda: self.now)

    def spend(self, seconds: float, work: Any) -> Any:
        def slow(*args: Any, **options: Any) -> Any:
            self.now += seconds
            return work(*args, **options)

        return slow


def test_wall_times_are_those_of_their_own_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting takes 3 s, V* 5 s, a checkpoint 7 s."""
    clock = Clock(monkeypatch)
    attempt = Attempt(
        tmp_path, num_updates=3, checkpoint__every=2, evaluation__every=100, evaluation__val_episodes=1
    )
    collector, trainer = attempt.collector, attempt.trainer
    collector.collect = clock.spend(3.0, collector.collect)  # type: ignore[method-assign]
    trainer._vstar = SimpleNamespace(num_samples=8)  # type: ignore[assignment]
    trainer._vstar_of = clock.spend(5.0, lambda goals: {g.id: 0.0 for g in goals})  # type: ignore[method-assign]
    monkeypatch.setattr(
        "webshop_rl.training.trainer.write_checkpoint", clock.spend(7.0, checkpoint_module.write_checkpoint)
    )
    attempt.run()
    assert series(tmp_path, "time/collect_s") == {1: 3.0, 2: 3.0, 3: 3.0}
    assert series(tmp_path, "time/update_s") == {1: 8.0, 2: 8.0, 3: 8.0}
    # Before update 1: 3 s of validation and the first checkpoint; another before update 3.
    assert series(tmp_path, "time/train_s") == {1: 18.0, 2: 26.0, 3: 41.0}
    assert series(tmp_path, "time/checkpoint_s") == {0: 7.0, 2: 7.0, 3: 7.0}


def test_a_collection_that_was_cut_off_is_in_train_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    attempt = Attempt(tmp_path, evaluation__val_episodes=1)
    plain = attempt.collector.collect

    def collect(specs: Sequence[EpisodeSpec], **options: Any) -> list[Trajectory]:
        clock.now += 3.0
        if attempt.trainer.progress.update == 2:
            raise Preempted("now")
        return plain(specs, **options)

    attempt.collector.collect = collect  # type: ignore[method-assign,assignment]
    with pytest.raises(Preempted):
        attempt.run()
    # The validation, two collections, and the one that was cut off.
    *_, last = find_checkpoints(tmp_path / "checkpoints")
    assert last.state()["train_s"] == 12.0


def test_memory_now_and_at_its_peak() -> None:
    # Mapped by hand: what an allocator gives back, and when, is its own affair.
    with mmap.mmap(-1, 200 * 2**20) as block:
        block.write(b"x" * len(block))
        held = memory()
    freed = memory()
    assert freed["system/rss_mb"] < held["system/rss_mb"] - 150
    assert freed["system/rss_peak_mb"] >= held["system/rss_peak_mb"] >= held["system/rss_mb"] - 1


def test_what_a_checkpoint_remembers_is_plain_json(tmp_path: Path) -> None:
    Attempt(tmp_path).run()
    state = json.loads((tmp_path / "checkpoints" / "update_000010" / "state.json").read_text())
    assert (state["update"], state["evaluated"], state["best_update"]) == (10, 10, 10)
    assert len(state["health"]) == 10


def test_each_trajectory_is_compared_with_vstar_of_its_own_goal(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path, vstar=True, num_updates=3, algo__goals_per_update=3)
    seen: list[tuple[list[str], list[float]]] = []
    learn = attempt.trainer._learner.learn

    def spied(trajectories: Any, vstar: Any, update: int) -> Any:
        seen.append(([t.goal.id for t in trajectories], vstar))
        return learn(trajectories, vstar, update)

    values = {goal.id: 0.1 * float(goal.asin) for goal in Shop5().goals("train")}
    attempt.trainer._learner.learn = spied  # type: ignore[method-assign]
    attempt.trainer._vstar.of = lambda goals, number: {g.id: values[g.id] for g in goals}  # type: ignore
    attempt.run()
    assert len(seen) == 3
    for goals, vstar in seen:
        assert vstar == [values[goal] for goal in goals]
        assert len(set(vstar)) == 3


def test_each_update_plays_the_next_goals_and_new_episodes(tmp_path: Path) -> None:
    attempt = Attempt(tmp_path)
    played: list[list[EpisodeSpec]] = []
    collect = attempt.collector.collect

    def spied(specs: Any, *, temperature: float, top_p: float = 1.0) -> Any:
        if temperature > 0:
            played.append(list(specs))
        return collect(specs, temperature=temperature, top_p=top_p)

    attempt.collector.collect = spied  # type: ignore[method-assign]
    attempt.run()
    # Ten updates of two goals are four passes over the five goals, a group of three each time.
    assert [len(specs) for specs in played] == [6] * 10
    goals = [spec.goal.id for specs in played for spec in specs]
    for one_pass in range(4):
        each = goals[15 * one_pass : 15 * (one_pass + 1)]
        assert {goal: each.count(goal) for goal in each} == {g.id: 3 for g in Shop5().goals("train")}
    assert len({spec.seed for specs in played for spec in specs}) == 60
