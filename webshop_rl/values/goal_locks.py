"""Which process samples which goal now, so that concurrent runs share the work instead of doubling it.

A lock is advice: samples are determined by their key, goal and index and the store drops doubles, so
two processes that lock one goal waste time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from webshop_rl.storage.lock import STALE_S, Busy, FolderLock


@contextlib.contextmanager
def lock_goals(
    folder: Path,
    goals: Iterable[str],
    *,
    limit: int | None = None,
    force: bool = False,
    stale_s: float = STALE_S,
) -> Iterator[list[str]]:
    """Lock up to limit of the goals, in their order, passing over those that others have locked.

    Args:
        folder: where the locks are.
        goals: goal ids.
        limit: how many at most; None for all.
        force: take goals over from living processes too.
        stale_s: see FolderLock.
    Yields: the goals that are this process's until the block ends; perhaps none.
    """
    with contextlib.ExitStack() as locks:
        locked: list[str] = []
        for goal in goals:
            if limit is not None and len(locked) >= limit:
                break
            name = hashlib.sha256(goal.encode()).hexdigest()[:32]
            lock = FolderLock(folder, name, stale_s=stale_s, beat_s=stale_s / 6, disposable=True)
            with contextlib.suppress(Busy):
                locks.enter_context(lock.acquire(take_over=force))
                locked.append(goal)
        yield locked
