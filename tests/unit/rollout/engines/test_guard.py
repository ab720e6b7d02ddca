"""An engine does not outlive a run that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.paths import REPOSITORY
from webshop_rl.rollout.engines.guard import guard, main

RUN = """
import sys, time
from webshop_rl.rollout.engines.guard import guard
guard([int(sys.argv[1])])
print("guarded", flush=True)
time.sleep(600)
"""


def engine() -> psutil.Popen:
    return psutil.Popen(["sleep", "600"])


def test_what_a_killed_run_leaves_is_killed() -> None:
    left, other = engine(), engine()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(left.pid)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "guarded\n"
    assert left.is_running()
    run.kill()
    run.wait()
    assert left.wait(timeout=60) == -9
    assert other.poll() is None
    other.kill()


def test_a_closed_input_ends_the_guard_and_what_is_left() -> None:
    left = engine()
    watching = guard([left.pid])
    assert watching.stdin is not None
    watching.stdin.close()
    assert watching.wait(timeout=60) == 0
    assert left.wait(timeout=60) == -9


def test_a_number_that_another_process_has_by_now_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = engine()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        main([f"{other.pid}:1.0"])
    assert other.poll() is None
    other.kill()
