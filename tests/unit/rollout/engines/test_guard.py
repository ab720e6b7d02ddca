"""An engine does not outlive a run that was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.paths import REPOSITORY
from webshop_rl.rollout.engines.guard import guard, main

RUN = """
import sys, time
from pathlib import Path
from webshop_rl.rollout.engines.guard import guard
guard(Path(sys.argv[1]), [int(sys.argv[2])])
print("guarded", flush=True)
time.sleep(600)
"""


def engine() -> psutil.Popen:
    return psutil.Popen(["sleep", "600"])


def test_what_a_killed_run_leaves_is_killed_and_deleted(tmp_path: Path) -> None:
    left, other = engine(), engine()
    folder = tmp_path / "weights"
    folder.mkdir()
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder), str(left.pid)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    assert run.stdout.readline() == "guarded\n"
    assert left.is_running()
    run.kill()
    run.wait()
    assert left.wait(timeout=60) == -9
    assert other.poll() is None
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not folder.exists()
    other.kill()


def test_a_closed_input_ends_the_guard_and_what_is_left(tmp_path: Path) -> None:
    left = engine()
    watching = guard(tmp_path / "none", [left.pid])
    assert watching.stdin is not None
    watching.stdin.close()
    assert watching.wait(timeout=60) == 0
    assert left.wait(timeout=60) == -9


def test_a_number_that_another_process_has_by_now_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = engine()
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        main([str(tmp_path / "none"), f"{other.pid}:1.0"])
    assert other.poll() is None
    other.kill()
