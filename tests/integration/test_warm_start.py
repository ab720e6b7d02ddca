"""Runs of a local sweep are forked from a process that has imported what they need; what if that is gone?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.sweep_command import Command, alive, checkout, read, wait_until
from webshop_rl.launching.warm import WarmProcess, WarmServer
from webshop_rl.storage.folders import RunFolder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each run imports for itself")


def server_of(launcher: subprocess.Popen[str]) -> psutil.Process:
    """The process that a launcher's runs are forked from."""
    return next(p for p in psutil.Process(launcher.pid).children() if any("warm" in w for w in p.cmdline()))


def running(command: Command) -> list[int]:
    """Process ids of runs that hold."""
    updates = [folder / "updates.log" for folder in command.runs().values()]
    if sum(log.exists() and len(log.read_text().split()) == 2 for log in updates) < 2:
        return []
    return [started[-1]["pid"] for started in command.attempts().values() if started]


def test_runs_are_forked_and_leave_nothing_behind(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s0="hold", s1="hold")
    with command.start("-m", "seed=0,1", "hardware.max_parallel=2", "hardware.threads=1") as launcher:
        wait_until(lambda: len(running(command)) == 2)
        server = server_of(launcher)
        assert {run.pid for run in server.children()} == set(running(command))
        assert len({os.getsid(pid) for pid in running(command)}) == 2  # each may be ended alone
        command.let_go()
        output = launcher.communicate(timeout=120)[0]
        assert launcher.returncode == 0, output
    assert set(command.states().values()) == {"finished"}
    wait_until(lambda: not alive(server.pid))
    for folder in command.runs().values():
        assert "attempt 1 on " in (folder / "log.txt").read_text()


def test_a_single_run_imports_for_itself(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s0="hold")
    with command.start("-m", "seed=0") as launcher:
        wait_until(lambda: bool(command.attempts().get(0)))
        assert [p.pid for p in psutil.Process(launcher.pid).children()] == [command.attempts()[0][-1]["pid"]]
        command.let_go()
        assert launcher.wait(120) == 0


def test_when_the_server_is_killed_its_runs_go_on_in_processes_of_their_own(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s0="hold", s1="hold")
    with command.start("-m", "seed=0,1,2", "hardware.max_parallel=2", "hardware.threads=1") as launcher:
        wait_until(lambda: len(running(command)) == 2)
        forked = running(command)
        server_of(launcher).kill()
        wait_until(lambda: not any(map(alive, forked)))
        command.let_go()
        output = launcher.communicate(timeout=180)[0]
        assert launcher.returncode == 0, output
    assert set(command.states().values()) == {"finished"}
    assert {seed: len(starts) for seed, starts in command.attempts().items()} == {0: 2, 1: 2, 2: 1}
    for folder in command.runs().values():  # no update is lost, and none done twice
        assert (folder / "updates.log").read_text().split() == ["1", "2", "3", "4"]


def test_all_ends_with_a_killed_launcher(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s0="hold", s1="hold")
    with command.start("-m", "seed=0,1", "hardware.max_parallel=2", "hardware.threads=1") as launcher:
        wait_until(lambda: len(running(command)) == 2)
        processes = [server_of(launcher).pid, *running(command)]
        launcher.kill()
        wait_until(lambda: not any(map(alive, processes)))


def test_the_code_of_a_run_that_is_killed_says_by_what(tmp_path: Path) -> None:
    """Without a queue: the server's answers, as the launcher gets them."""
    source = checkout(trains=False)
    command = Command(tmp_path / "runs", s0="kill_always", s1="vanish")
    assert command.run("-m", "seed=0,1", "hardware.restarts=0")[0] == 1
    errors = {seed: read(folder / "status.json")["error"] for seed, folder in command.runs().items()}
    assert "SIGKILL" in errors[0]
    assert "exit code 0" in errors[1]
    server = WarmServer(
        (sys.executable, "-u", "-m"), code=source, environment=command.environment, mirrored=False
    )
    run = RunFolder(command.runs()[0])
    (run.path / "status.json").write_text(json.dumps({"state": "prepared"}))
    assert server.start(run) is None  # it is not ready
    wait_until(lambda: not server.waiting)
    process = server.start(run)
    assert process is not None
    wait_until(lambda: process.poll() is not None)
    assert process.returncode == -signal.SIGKILL
    server.retire()
    assert server.start(run) is None  # retired
    wait_until(lambda: not server.waiting and server.gone)
    # Without the server a process has ended once it is a zombie: who has it now may never ask.
    with subprocess.Popen(["sleep", "600"]) as orphan:
        process = WarmProcess(server, orphan.pid)
        assert process.poll() is None
        os.kill(orphan.pid, signal.SIGKILL)
        wait_until(lambda: process.poll() is not None)
        assert process.returncode == -signal.SIGKILL


def test_what_is_imported_for_all_runs_starts_no_thread_and_sends_nothing() -> None:
    program = """
import os, threading
from webshop_rl.tracking import client
client.preload()
import webshop_rl.experiment, mlflow
assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
print(threading.active_count())
"""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["1"], done.stderr
