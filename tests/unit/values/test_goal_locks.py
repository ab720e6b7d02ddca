"""Claims: shared work, and no waiting for the dead."""

import json
import multiprocessing
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from webshop_rl.storage.lock import this_process
from webshop_rl.values.goal_locks import lock_goals

GOALS = ["g/1", "g/2", "g/3"]


def _age(folder: Path, seconds: float) -> None:
    for path in folder.glob("*.lock/0*"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def _owned_elsewhere(folder: Path) -> None:
    for path in folder.glob("*.lock/0*"):
        path.write_text(json.dumps(asdict(replace(this_process(), machine="another", host="node7"))))


def test_what_one_has_locked_the_other_passes_over(tmp_path: Path) -> None:
    with lock_goals(tmp_path, GOALS, limit=2) as first:
        assert first == ["g/1", "g/2"]
        with lock_goals(tmp_path, GOALS) as second:
            assert second == ["g/3"]
    with lock_goals(tmp_path, GOALS) as third:
        assert third == GOALS
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_counts_until_it_is_silent_and_then_stays_with_the_taker(
    tmp_path: Path,
) -> None:
    # An hour, of which a machine that stalls changes nothing; the holder's signs of life are as rare.
    with lock_goals(tmp_path, GOALS, stale_s=3600) as mine:
        assert mine == GOALS
        _owned_elsewhere(tmp_path)
        _age(tmp_path, 1800)
        with lock_goals(tmp_path, GOALS, stale_s=3600) as too_early:
            assert too_early == []
        _age(tmp_path, 3601)
        with lock_goals(tmp_path, GOALS, stale_s=3600) as taker:
            assert taker == GOALS
            with lock_goals(tmp_path, GOALS) as third:
                assert third == []


def test_giving_back_what_another_has_taken_over_leaves_it_with_the_taker(tmp_path: Path) -> None:
    holder = lock_goals(tmp_path, GOALS)
    taker = lock_goals(tmp_path, GOALS, force=True)
    assert holder.__enter__() == GOALS
    assert taker.__enter__() == GOALS
    holder.__exit__(None, None, None)
    with lock_goals(tmp_path, GOALS) as third:
        assert third == []
    taker.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_living_process_keeps_its_lock_fresh(tmp_path: Path) -> None:
    with lock_goals(tmp_path, GOALS, stale_s=0.3):
        _age(tmp_path, 100)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if all(time.time() - path.stat().st_mtime < 50 for path in tmp_path.glob("*.lock/0*")):
                break
            time.sleep(0.02)
        else:
            pytest.fail("no sign of life")


def _lock_and_die(folder: Path) -> None:
    with lock_goals(folder, GOALS):
        os._exit(9)


@pytest.mark.parametrize("waited_for", [True, False])
def test_the_lock_of_a_process_that_died_here_is_free_at_once(tmp_path: Path, waited_for: bool) -> None:
    child = multiprocessing.get_context("fork").Process(target=_lock_and_die, args=(tmp_path,))
    child.start()
    # WNOWAIT leaves the dead child as it is, a zombie.
    os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)
    if waited_for:
        child.join()
    assert len(list(tmp_path.glob("*.lock/0*"))) == 3
    with lock_goals(tmp_path, GOALS) as locked:
        assert locked == GOALS
    child.join()
    assert child.exitcode == 9
