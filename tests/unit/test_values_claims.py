"""Claims: shared work, and no waiting for the dead."""

import json
import multiprocessing
import os
import socket
import time
from pathlib import Path

import pytest

from webshop_rl.values.claims import Claims

GOALS = ["g/1", "g/2", "g/3"]


def _age(folder: Path, seconds: float) -> None:
    for path in folder.glob("*.json"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_what_one_holds_the_other_passes_over(tmp_path: Path) -> None:
    with Claims(tmp_path).take(GOALS, limit=2) as first:
        assert first.goals == ["g/1", "g/2"]
        with Claims(tmp_path).take(GOALS) as second:
            assert second.goals == ["g/3"]
    with Claims(tmp_path).take(GOALS) as third:
        assert third.goals == GOALS
    assert list(tmp_path.iterdir()) == []


def test_a_claim_not_refreshed_is_taken_over_and_stays_with_the_taker(tmp_path: Path) -> None:
    mine = Claims(tmp_path, stale_after_s=60).take(GOALS)
    _age(tmp_path, 59)
    assert Claims(tmp_path, stale_after_s=60).take(GOALS).goals == []
    _age(tmp_path, 61)
    taker = Claims(tmp_path, stale_after_s=60).take(GOALS)
    assert taker.goals == GOALS
    mine.release()  # no longer mine to give back
    assert Claims(tmp_path, stale_after_s=60).take(GOALS).goals == []
    taker.release()
    assert list(tmp_path.iterdir()) == []


def test_a_living_holder_keeps_its_claim_fresh(tmp_path: Path) -> None:
    with Claims(tmp_path, stale_after_s=0.4).take(GOALS):
        _age(tmp_path, 100)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if all(time.time() - path.stat().st_mtime < 50 for path in tmp_path.glob("*.json")):
                break
            time.sleep(0.02)
        assert Claims(tmp_path, stale_after_s=30).take(GOALS).goals == []


def test_force_takes_from_the_living(tmp_path: Path) -> None:
    with Claims(tmp_path).take(GOALS), Claims(tmp_path).take(GOALS, force=True) as forced:
        assert forced.goals == GOALS


def _claim_and_die(folder: Path) -> None:
    Claims(folder).take(GOALS)
    os._exit(9)


@pytest.mark.parametrize("waited_for", [True, False])
def test_the_claim_of_a_process_that_died_here_is_free_at_once(tmp_path: Path, waited_for: bool) -> None:
    child = multiprocessing.get_context("fork").Process(target=_claim_and_die, args=(tmp_path,))
    child.start()
    # WNOWAIT leaves the dead child as it is, a zombie.
    os.waitid(os.P_PID, child.pid or 0, os.WEXITED | os.WNOWAIT)
    if waited_for:
        child.join()
    assert len(list(tmp_path.glob("*.json"))) == 3
    with Claims(tmp_path).take(GOALS) as claim:
        assert claim.goals == GOALS
    child.join()
    assert child.exitcode == 9


def test_a_process_with_the_number_of_the_dead_is_not_the_holder(tmp_path: Path) -> None:
    Claims(tmp_path).take(GOALS)
    assert Claims(tmp_path).take(GOALS).goals == []
    for path in tmp_path.glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "1"}))
    assert Claims(tmp_path).take(GOALS).goals == GOALS


def test_a_claim_of_another_machine_is_judged_by_its_age_alone(tmp_path: Path) -> None:
    Claims(tmp_path).take(GOALS)
    for path in tmp_path.glob("*.json"):
        path.write_text(
            json.dumps({"host": socket.gethostname() + "-2", "pid": 2**22 + 1, "started": "1", "id": "x"})
        )
    assert Claims(tmp_path).take(GOALS).goals == []
    _age(tmp_path, 1000)
    assert Claims(tmp_path).take(GOALS).goals == GOALS


def test_a_claim_cut_off_in_writing_is_judged_by_its_age_alone(tmp_path: Path) -> None:
    Claims(tmp_path).take(GOALS)
    for path in tmp_path.glob("*.json"):
        path.write_text("")
    assert Claims(tmp_path).take(GOALS).goals == []
    _age(tmp_path, 1000)
    assert Claims(tmp_path).take(GOALS).goals == GOALS
