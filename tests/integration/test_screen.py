"""Whatever happens to the screen, a run goes on: readers that end, a full disk, a closed terminal."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.sweep_command import QUICK, Command, read, wait_until

# The real display of a run, which the stand-in for training does not have.
SHOWN = (*QUICK, "tracking=journal")


def shell(command: Command, *overrides: str, into: str) -> int:
    """Exit code of launch.py itself, its output redirected as a user would."""
    words = shlex.join([*command.launch, *overrides, f"root={command.root}"])
    done = subprocess.run(
        ["bash", "-c", f"{words} {into}; exit ${{PIPESTATUS[0]}}"],
        cwd=command.root.parent,
        env=command.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        timeout=180,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode


@pytest.mark.parametrize("into", ["2>&1 | head -1", "> /dev/full", ">&- 2>&-"])
def test_a_run_finishes_though_nobody_reads_it(tmp_path: Path, into: str) -> None:
    command = Command(tmp_path / "runs", trains=True)
    assert shell(command, *SHOWN, into=into) == 0
    (folder,) = (tmp_path / "runs/runs").iterdir()
    assert read(folder / "status.json")["state"] == "finished"


@pytest.mark.parametrize("into", ["2>&1 | head -2", "> /dev/full"])
def test_a_sweep_finishes_though_nobody_reads_it(tmp_path: Path, into: str) -> None:
    command = Command(tmp_path / "runs")
    overrides = ("-m", "seed=1,2", "num_updates=4", "tracking=journal", "sweep.refresh_s=0.2")
    assert shell(command, *overrides, into=into) == 0
    assert set(command.states().values()) == {"finished"}


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_stopped_single_run_saves_itself_and_ends_as_its_signal_has_it(
    tmp_path: Path, signum: signal.Signals, code: int
) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    single = command.start("seed=1")
    wait_until(lambda: _has_begun(command))
    single.send_signal(signum)
    output, _ = single.communicate(timeout=90)
    assert single.returncode == code, output
    assert f"stopped by {signum.name}" in output
    assert command.states() == {1: "interrupted"}


def test_a_closed_terminal_stops_a_run_which_saves_itself(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    terminal, screen = pty.openpty()
    process = subprocess.Popen(
        [
            *command.launch,
            "seed=1",
            f"root={command.root}",
            "tracking=journal",
        ],
        cwd=command.root.parent,
        env=command.environment,
        stdin=screen,
        stdout=screen,
        stderr=screen,
        preexec_fn=os.setsid,
    )
    os.close(screen)
    wait_until(lambda: _has_begun(command))
    os.close(terminal)
    process.send_signal(signal.SIGHUP)  # as the shell does that has the terminal
    assert process.wait(timeout=60) == 129
    assert command.states() == {1: "interrupted"}


def test_nohup_is_heeded(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold")
    command.environment["PYTHONUNBUFFERED"] = "1"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        single, sweep = command.start("seed=1"), command.start("-m", "seed=2")
    finally:
        signal.signal(signal.SIGHUP, before)
    with contextlib.ExitStack() as stack:
        for process in (single, sweep):
            stack.callback(process.kill)
        wait_until(lambda: {1, 2} <= command.runs().keys() and all(map(_begun, command.runs().values())))
        for process in (single, sweep):
            process.send_signal(signal.SIGHUP)
        command.let_go()
        assert single.wait(timeout=60) == 0
        assert sweep.wait(timeout=60) == 0


def _has_begun(command: Command) -> bool:
    return any(map(_begun, command.runs().values()))


def _begun(folder: Path) -> bool:
    return (folder / "updates.log").exists()
