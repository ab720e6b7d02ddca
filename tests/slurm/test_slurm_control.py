"""Whose jobs these are: launchers interrupted, killed and doubled, and commands from other shells."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.mlflow_server import Server
from tests.support.paths import REPOSITORY
from tests.support.slurm_commands import (
    ON_SLURM,
    attempts,
    has_begun,
    job_ids,
    jobs_left,
    slurm_command,
    slurm_states,
    sweep_of,
    updates,
)
from tests.support.sweep_command import Command, end, wait_until


def test_a_cancelled_job_stays_cancelled_until_it_is_retried(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "seed=1,2", "num_updates=8")
    wait_until(has_begun(command, 1))
    slurm_command("scancel", job_ids(command)[1])
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 1, output
    assert command.states() == {1: "interrupted", 2: "finished"}
    assert slurm_states(command)[1] == "CANCELLED"
    code, output = command.status("retry", sweep_of(command))
    assert code == 0, output
    assert command.states() == {1: "finished", 2: "finished"}
    assert updates(command.runs()[1]) == list(range(1, 9))
    assert attempts(command) == {1: 2, 2: 1}


@pytest.mark.parametrize("policy", ["cancel", "leave"])
def test_ctrl_c_cancels_or_leaves(tmp_path: Path, policy: str) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "seed=1,2", "num_updates=12", f"sweep.on_interrupt={policy}")
    wait_until(has_begun(command, 1))
    code, output = end(launcher, signal.SIGINT)
    assert code == 130 if policy == "cancel" else code == 0, output
    if policy == "cancel":
        assert set(slurm_states(command).values()) == {"CANCELLED"}
        assert set(command.states().values()) == {"interrupted"}
    else:
        assert set(slurm_states(command).values()) == {"RUNNING"}
        code, output = command.status("cancel", sweep_of(command))
        assert "cancelled 2 jobs" in output
        wait_until(lambda: set(slurm_states(command).values()) == {"CANCELLED"})


def test_a_cancelled_sweep_leaves_no_job_that_samples_reference_returns(tmp_path: Path) -> None:
    """By `status cancel` and by Ctrl-C, while all its jobs wait."""
    later = "hardware.slurm.sbatch.begin=now+1hour"
    words = (*ON_SLURM, "algo=apo_pg", "seed=1,2", "sweep.vstar_job=true", later)
    command = Command(tmp_path / "runs")
    code, output = command.run(*words, "sweep.wait=false")
    assert code == 0, output
    assert len(jobs_left().splitlines()) == 3
    code, output = command.status("cancel", sweep_of(command))
    assert code == 0, output
    assert "cancelled 3 jobs" in output
    wait_until(lambda: not jobs_left())

    launcher = command.start(*words, "sweep.on_interrupt=cancel")
    wait_until(lambda: len(jobs_left().splitlines()) == 3 and len(job_ids(command)) == 2)
    end(launcher, signal.SIGINT)
    wait_until(lambda: not jobs_left())


def test_on_a_terminal_ctrl_c_asks(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    ours, theirs = pty.openpty()
    launcher = command.start(*ON_SLURM, "seed=1", stdin=theirs)
    wait_until(has_begun(command, 1))
    launcher.send_signal(signal.SIGINT)
    assert launcher.stdout is not None
    said = ""
    while "[y/N]" not in said:
        said += launcher.stdout.read(1)
    assert "cancel the jobs of this sweep? [y/N]" in said
    os.write(ours, b"y\n")
    launcher.communicate(timeout=90)
    assert launcher.returncode == 130
    assert set(slurm_states(command).values()) == {"CANCELLED"}


def test_jobs_outlive_a_killed_launcher_and_the_same_command_waits_for_them(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold")
    launcher = command.start(*ON_SLURM, "seed=1,2")
    wait_until(has_begun(command, 1, 2))
    end(launcher, signal.SIGKILL)
    code, output = command.status(sweep_of(command), "--json")
    assert code == 0, output
    assert [run["state"] for run in json.loads(output)] == ["running", "running"]
    again = command.start(*ON_SLURM, "seed=1,2,3")
    wait_until(lambda: command.states().get(3) == "finished")
    command.let_go()
    output, _ = again.communicate(timeout=90)
    assert again.returncode == 0, output
    assert "2 leave alone, 1 start" in output
    assert attempts(command) == {1: 1, 2: 1, 3: 1}


def test_a_launcher_killed_while_it_submits_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """sbatch has taken the jobs, and the launcher dies before it learns of it."""
    (tmp_path / "bin").mkdir()
    fatal = tmp_path / "bin/sbatch"
    fatal.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} --hold "$@" >/dev/null\nkill -9 $PPID\n')
    fatal.chmod(0o755)
    command = Command(tmp_path / "runs")
    path = command.environment["PATH"]
    command.environment["PATH"] = f"{fatal.parent}:{path}"
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == -signal.SIGKILL, output
    lost = jobs_left().splitlines()
    assert len(lost) == 3
    command.environment["PATH"] = path
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == 0, output
    assert attempts(command) == {1: 1, 2: 1, 3: 1}
    wait_until(lambda: not jobs_left())
    assert {line.split()[0] for line in lost}.isdisjoint(job_ids(command).values())


def test_a_single_run_is_a_sweep_of_one(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="raise")
    code, output = command.run(*ON_SLURM[1:], "seed=1")
    assert code == 0, output
    code, output = command.run(*ON_SLURM[1:], "seed=2")
    assert code == 1, output
    assert "ValueError: the shop is closed" in output
    assert command.states() == {1: "finished", 2: "failed"}


def test_two_launchers_at_the_same_moment_execute_each_run_once(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    both = [command.start(*ON_SLURM, "seed=1,2,3") for _ in range(2)]
    outputs = [launcher.communicate(timeout=120)[0] for launcher in both]
    assert [launcher.returncode for launcher in both] == [0, 0], outputs
    assert sorted("3 start" in output for output in outputs) == [False, True]
    assert attempts(command) == {1: 1, 2: 1, 3: 1}


def test_what_the_nodes_could_not_tell_the_tracker_status_does_once(tmp_path: Path) -> None:
    """The server answers the launcher; to the nodes a proxy is in the way."""
    root = tmp_path / "runs"
    root.mkdir()
    server = Server(root).start()
    try:
        command = Command(root, s2="raise")
        code, output = command.run(
            *ON_SLURM,
            "seed=1,2",
            "tracking=mlflow",
            f"tracking.uri={server.url}",
            "tracking.timeout_s=2",
            "hardware.slurm.setup=['export http_proxy=http://127.0.0.1:9 no_proxy= NO_PROXY=']",
            "sweep.wait=false",
        )
        assert code == 0, output
        wait_until(lambda: command.states() == {1: "finished", 2: "failed"})
        wait_until(lambda: not jobs_left())
        assert _metrics(root) == Counter()
        for _ in range(2):
            code, output = command.status(sweep_of(command), "--once")
            assert code == 1, output
            assert _metrics(root) == Counter(
                {("1", step): 1 for step in range(1, 5)} | {("2", 1): 1, ("2", 2): 1}
            )
        ended = _query(root, "select name, status from runs order by name")
        assert sorted(status for _, status in ended) == ["FAILED", "FAILED", "FINISHED"]  # and the parent
        report = [sys.executable, "-m", "analysis.report", "--sweep", sweep_of(command), "--root", str(root)]
        done = subprocess.run(report, cwd=REPOSITORY, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        server.signal(signal.SIGKILL)


def _metrics(root: Path) -> Counter[tuple[str, int]]:
    """How often a (seed, step) of one metric is in MLflow's database."""
    rows = _query(
        root,
        "select params.value, metrics.step from metrics join params on params.run_uuid = metrics.run_uuid"
        " where metrics.key = 'train/success' and params.key = 'seed'",
    )
    return Counter((str(seed), int(step)) for seed, step in rows)


def _query(root: Path, text: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(root / "mlflow.db")) as database:
        return database.execute(text).fetchall()
