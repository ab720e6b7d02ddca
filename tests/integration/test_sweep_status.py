"""The status command on local sweeps: table, cancel, retry, logs, from any shell."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path

from tests.support.sweep_command import Command, wait_until


def test_a_sweep_is_seen_cancelled_and_retried_from_another_shell(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="hold")
    launcher = command.start("-m", "seed=1,2", "sweep.name=study")
    wait_until(lambda: any((f / "updates.log").exists() for f in command.runs().values()))
    code, output = command.status("--json")
    assert code == 0, output
    seen = json.loads(output)
    assert [run["overrides"] for run in seen] == ["seed=1", "seed=2"]
    assert {run["state"] for run in seen} <= {"running", "queued"}
    assert any(run["update"] > 0 for run in seen)
    code, output = command.status("cancel", "study")
    assert code == 0, output
    assert "1 local processes" in output
    launcher.communicate(timeout=90)
    assert launcher.returncode == 143
    code, output = command.status("study")
    assert "2 runs: 2 interrupted" in output or "1 interrupted, 1 prepared" in output

    # In a copy of the root the copy's runs are retried, with the frozen code, and the root's stay.
    shutil.copytree(tmp_path / "runs", tmp_path / "copy")
    states, copy = command.states(), Command(tmp_path / "copy")
    code, output = copy.status("retry", "study")
    assert code == 0, output
    assert copy.states() == {1: "finished", 2: "finished"}
    assert command.states() == states

    healed = Command(tmp_path / "runs")
    code, output = healed.status("retry", "study")
    assert code == 0, output
    assert healed.states() == {1: "finished", 2: "finished"}
    assert all(
        (f / "updates.log").read_text().split() == ["1", "2", "3", "4"] for f in healed.runs().values()
    )
    code, output = healed.status("retry", "study")
    assert code == 2
    assert "no failed or interrupted run" in output


def test_logs_and_errors_of_names(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="raise")
    assert command.run("-m", "seed=1", "sweep.name=study")[0] == 1
    run = command.runs()[1].name
    code, output = command.status("study")
    assert code == 1, output
    assert "the shop is closed" in output
    code, output = command.status("logs", run[:6])
    assert code == 0
    assert "ValueError: the shop is closed" in output
    for words, what in (
        (["logs", "zzz"], "is not a run"),
        (["nonsense"], "there are: study"),
        (["cancel", "nonsense"], "there is no sweep"),
        (["cancel"], "cancel: the name of a sweep is missing (there are: study)"),
        (["retry"], "retry: the name of a sweep is missing (there are: study)"),
    ):
        code, output = command.status(*words)
        assert code == 2
        assert what in output
        assert "Traceback" not in output


def test_a_single_run_is_seen_read_and_cancelled(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold")
    code, output = command.status()
    assert (code, output.count("contains no run")) == (2, 1)
    single = command.start("seed=1")
    wait_until(lambda: any((f / "updates.log").exists() for f in command.runs().values()))
    run = command.runs()[1].name
    seen = json.loads(command.status("--json")[1])
    assert [(each["run"], each["state"]) for each in seen] == [(run, "running")]
    assert "single run" in command.status(run[:6])[1]
    code, output = command.status("cancel", run)
    assert (code, output) == (0, f"cancelled 0 jobs and 1 local processes of {run}\n")
    output, _ = single.communicate(timeout=60)
    assert single.returncode == 143
    code, logged = command.status("logs", run)
    assert code == 0
    first, *_, last = logged.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d attempt 1 on \S+, process \d+", first)
    assert last[20:] in output  # shown on the terminal, too
    assert "stopped by SIGTERM; the same command resumes it" in last

    # Below the table of a sweep that was launched later it stands, too.
    assert Command(tmp_path / "runs").run("-m", "seed=2", "sweep.name=study")[0] == 0
    code, output = command.status()
    assert "sweep study" in output
    assert re.search(rf"single run *\n(.*\n)?.*{run}.*interrupted", output)


def test_logs_are_the_runs_own_words(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="hold", s2="raise")
    sweep = command.start("-m", "seed=1", "sweep.name=study")
    wait_until(lambda: any((f / "updates.log").exists() for f in command.runs().values()))
    sweep.send_signal(signal.SIGTERM)
    sweep.communicate(timeout=60)
    log = (command.runs()[1] / "log.txt").read_text()
    assert "submitit" not in log
    assert "successfully" not in log
    assert command.run("-m", "seed=2", "sweep.name=study2")[0] == 1
    log = (command.runs()[2] / "log.txt").read_text()
    assert log.count("Traceback") == 1
    assert "submitit" not in log
