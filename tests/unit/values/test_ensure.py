"""Many processes asking for the same reference returns pay for them once, and none waits for the dead."""

import multiprocessing
import time
import zlib
from multiprocessing.synchronize import Barrier
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from webshop_rl.values.ensure import ensure_returns
from webshop_rl.values.store import KeyedReturns, ReturnStore, Sample

FORK = multiprocessing.get_context("fork")
GOALS = [f"g/{i}" for i in range(12)]


def _return(goal: str, index: int) -> float:
    return zlib.crc32(f"{goal} {index}".encode()) % 1000 / 1000


def _open(root: Path) -> KeyedReturns:
    return ReturnStore(root).open({"weights": "w"})


class _Sampler:
    """A deterministic sampler that keeps what it was asked for; the first call waits at the barrier."""

    def __init__(self, barrier: Barrier | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        self.barrier = barrier

    def __call__(self, pairs: list[tuple[str, int]]) -> list[Sample]:
        if self.barrier is not None and not self.asked:
            self.barrier.wait(60)
        self.asked += pairs
        return [Sample(g, i, _return(g, i), 0.0) for g, i in pairs]


def _expected(goals: list[str], n: int) -> dict[str, list[float]]:
    return {g: [_return(g, i) for i in range(n)] for g in goals}


def test_samples_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    first = _Sampler()
    found = ensure_returns(_open(tmp_path), GOALS[:3], 2, first)
    assert {g: r.tolist() for g, r in found.items()} == _expected(GOALS[:3], 2)
    assert all(r.dtype == np.float64 for r in found.values())
    more = _Sampler()
    ensure_returns(_open(tmp_path), [*GOALS[1:4], GOALS[1]], 3, more)
    assert sorted(more.asked) == [(GOALS[1], 2), (GOALS[2], 2), (GOALS[3], 0), (GOALS[3], 1), (GOALS[3], 2)]
    nothing = _Sampler()
    fewer = ensure_returns(_open(tmp_path), GOALS[:4], 2, nothing)
    assert nothing.asked == []
    assert fewer[GOALS[3]].tolist() == _expected(GOALS, 2)[GOALS[3]]


def test_a_sampler_that_leaves_out_a_pair_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="left out 1"):
        ensure_returns(_open(tmp_path), ["g"], 2, lambda pairs: [Sample(*pairs[0], 0.0, 0.0)])
    assert list((_open(tmp_path).folder / "locks").iterdir()) == []


def test_a_failing_sampler_gives_its_locks_back(tmp_path: Path) -> None:
    def broken(pairs: list[tuple[str, int]]) -> list[Sample]:
        raise MemoryError

    with pytest.raises(MemoryError):
        ensure_returns(_open(tmp_path), GOALS, 2, broken)
    ensure_returns(_open(tmp_path), GOALS, 2, _Sampler(), poll_s=60)  # would hang if the lock stood


def _worker(
    root: Path,
    goals: list[str],
    n: int,
    barrier: Barrier,
    out: "multiprocessing.Queue[tuple[dict, list]]",  # type: ignore[type-arg]
) -> None:
    sampler = _Sampler(barrier)
    found = ensure_returns(_open(root), goals, n, sampler, goals_per_batch=2, poll_s=0.01)
    out.put(({g: r.tolist() for g, r in found.items()}, sampler.asked))


def test_concurrent_runs_share_the_sampling(tmp_path: Path) -> None:
    out: multiprocessing.Queue = FORK.Queue()  # type: ignore[type-arg]
    requests = [(GOALS, 4), (GOALS, 4), (GOALS[4:], 6), (list(reversed(GOALS)), 2)]
    barrier = FORK.Barrier(len(requests))  # that each has work before the first is done with its own
    workers = [FORK.Process(target=_worker, args=(tmp_path, goals, n, barrier, out)) for goals, n in requests]
    for worker in workers:
        worker.start()
    results = [out.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert all(found in [_expected(goals, n) for goals, n in requests] for found, _ in results)
    asked = [pair for _, pairs in results for pair in pairs]
    wanted = {(g, i) for goals, n in requests for g in goals for i in range(n)}
    assert set(asked) == wanted
    assert len(asked) == len(wanted)  # every sample was paid for once
    assert all(pairs for _, pairs in results)  # and the work was shared
    assert list((_open(tmp_path).folder / "locks").iterdir()) == []


def _hang(root: Path, locked: "multiprocessing.Queue[int]") -> None:
    def sampler(pairs: list[tuple[str, int]]) -> list[Sample]:
        locked.put(len(pairs))
        time.sleep(600)
        return []

    ensure_returns(_open(root), GOALS, 2, sampler, goals_per_batch=3)


def test_a_killed_owner_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked: multiprocessing.Queue = FORK.Queue()  # type: ignore[type-arg]
    victim = FORK.Process(target=_hang, args=(tmp_path, locked))
    victim.start()
    assert locked.get(timeout=120) == 6
    waited = 0

    def kill_it_while_it_is_waited_for(pause_s: float) -> None:
        nonlocal waited
        waited += 1
        assert waited < 2, "waited for a process that is gone"
        victim.kill()
        victim.join()

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=kill_it_while_it_is_waited_for)
    monkeypatch.setattr("webshop_rl.values.ensure.time", clock)
    found = ensure_returns(_open(tmp_path), GOALS, 2, _Sampler(), patience_s=600)
    assert waited == 1
    assert {g: r.tolist() for g, r in found.items()} == _expected(GOALS, 2)


def test_a_hung_owner_is_waited_for_only_so_long(tmp_path: Path) -> None:
    locked: multiprocessing.Queue = FORK.Queue()  # type: ignore[type-arg]
    hung = FORK.Process(target=_hang, args=(tmp_path, locked))
    hung.start()
    try:
        locked.get(timeout=120)
        found = ensure_returns(_open(tmp_path), GOALS, 2, _Sampler(), poll_s=0.02, patience_s=0.3)
        assert {g: r.tolist() for g, r in found.items()} == _expected(GOALS, 2)
    finally:
        hung.kill()
        hung.join()
