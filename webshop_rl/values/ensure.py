"""See to it that every goal has its reference returns: sample what nobody has, wait for what others do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from webshop_rl.values.store import KeyedReturns, Sample

Sampler = Callable[[list[tuple[str, int]]], Iterable[Sample]]


def ensure_returns(
    store: KeyedReturns,
    goals: Sequence[str],
    num_samples: int,
    sampler: Sampler,
    *,
    goals_per_batch: int = 4,
    poll_s: float = 1.0,
    patience_s: float = 600.0,
) -> dict[str, NDArray[np.float64]]:
    """The first num_samples reference returns of each goal, sampled once however many processes ask.

    Goals that lack samples are locked a few at a time, sampled and stored; when all that is left is
    locked by others, wait. An owner that died is found by its lock (see goal_locks.py). An owner that
    lives and hangs is not waited for beyond patience_s without a new sample: its goals are sampled
    here too. So this ends whatever other processes do.

    Args:
        store: where returns are found and kept.
        goals: goal ids; doubles count once.
        num_samples: samples per goal, N >= 1.
        sampler: called with (goal, index) pairs, gives each pair's sample, all of them; it must
            depend on nothing else.
        goals_per_batch: goals sampled together.
        poll_s: pause between two looks while waiting, seconds.
        patience_s: see above, seconds.
    Returns: goal -> [N] returns, by index.
    Raises: RuntimeError if the sampler leaves out a pair; whatever the sampler raises.
    """
    wanted = list(dict.fromkeys(goals))
    store.refresh()
    last_news = time.monotonic()
    while lacking := _goals_of(store.missing(wanted, num_samples)):
        force = time.monotonic() - last_news > patience_s
        with store.lock(lacking, limit=goals_per_batch, force=force) as locked:
            store.refresh()  # an owner may have stored and released just before we locked
            pairs = store.missing(locked, num_samples)
            if pairs:
                samples = list(sampler(pairs))
                store.add(samples)
                if left_out := set(pairs) - {(s.goal, s.index) for s in samples}:
                    raise RuntimeError(f"the sampler left out {len(left_out)} samples, e.g. {min(left_out)}")
        if locked:
            last_news = time.monotonic()
            continue
        time.sleep(poll_s)
        if store.refresh():
            last_news = time.monotonic()
    return {goal: _first(store.get(goal), num_samples) for goal in wanted}


def _goals_of(pairs: list[tuple[str, int]]) -> list[str]:
    return list(dict.fromkeys(goal for goal, _ in pairs))


def _first(returns: dict[int, float], num_samples: int) -> NDArray[np.float64]:
    return np.array([returns[i] for i in range(num_samples)], dtype=np.float64)
