"""What a run consumed, and where its time went."""

from __future__ import annotations

import mmap
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.training_attempts import Attempt, metric, resumed_after_dying_anywhere, series
from tests.support.training_stand_ins import Killed
from webshop_rl.preemption import Preempted
from webshop_rl.rollout.episode import EpisodeSpec
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training import checkpoint as checkpoint_module
from webshop_rl.training.checkpoint import find_checkpoints
from webshop_rl.training.measures import Cores, memory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


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
    for folder, _, _ in resumed_after_dying_anywhere(tmp_path, kind, **options):
        for name in ("train/episodes", "train/env_steps", "train/tokens", "vstar/episodes"):
            assert metric(folder, name) == metric(tmp_path / "calm", name), f"{name}, {folder.name}"


def test_gpu_hours_are_the_time_of_training_on_each_gpu(tmp_path: Path) -> None:
    Attempt(tmp_path, num_gpus=4).run()
    hours, seconds = metric(tmp_path, "time/gpu_hours"), metric(tmp_path, "time/train_s")
    assert hours[-1] > 0
    assert hours == pytest.approx([4 * s / 3600 for s in seconds])


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
    trainer._vstar = SimpleNamespace()  # type: ignore[assignment]
    trainer._vstar_of = clock.spend(5.0, lambda goals: {g.id: 0.0 for g in goals})  # type: ignore[method-assign]
    monkeypatch.setattr(
        "webshop_rl.training.keeper.write_checkpoint", clock.spend(7.0, checkpoint_module.write_checkpoint)
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


def test_cores_are_those_kept_busy_since_the_call_before(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(10.0, 100.0), (14.0, 106.0), (15.0, 106.5)])  # (wall, of all threads together), seconds
    now = SimpleNamespace(wall=0.0, cpu=0.0)

    def next_call() -> None:
        now.wall, now.cpu = next(times)

    monkeypatch.setattr(time, "monotonic", lambda: now.wall)
    monkeypatch.setattr(time, "process_time", lambda: now.cpu)
    next_call()
    cores = Cores()
    next_call()
    assert cores.busy() == {"system/cpu_cores": 1.5}  # 6 s in 4 s
    next_call()
    assert cores.busy() == {"system/cpu_cores": 0.5}  # 0.5 s in 1 s
