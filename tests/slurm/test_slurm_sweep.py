"""Sweeps on a real Slurm with a stand-in for training: queued, preempted, requeued, killed, cancelled."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from sweep_command import Command, alive, copy_checkout, end, read, wait_until

ON_SLURM = ("-m", "hardware=slurm_cpu", "hardware.mem=512M", "hardware.cpus=1")
UPDATES = 20


def _updates(folder: Path) -> list[int]:
    log = folder / "updates.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _job_ids(command: Command) -> dict[int, str]:
    return {seed: read(f / "job.json")["job_id"] for seed, f in command.runs().items()}


def _slurm_states(command: Command) -> dict[int, str]:
    answer = _slurm("squeue", "-h", "-r", "-t", "all", "-o", "%i %T")
    states = dict(line.split() for line in answer.splitlines())
    return {seed: states[job_id] for seed, job_id in _job_ids(command).items()}


def _slurm(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


def _has_begun(command: Command, seed: int = 1) -> Callable[[], bool]:
    return lambda: seed in command.runs() and len(_updates(command.runs()[seed])) >= 2


def test_a_sweep_is_one_array_and_only_what_is_new_is_added(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == 0, output
    assert command.states() == {1: "finished", 2: "finished", 3: "finished"}
    wait_until(lambda: set(_slurm_states(command).values()) == {"COMPLETED"})
    assert len({job_id.partition("_")[0] for job_id in _job_ids(command).values()}) == 1
    code, output = command.run(*ON_SLURM, "seed=1,2,3,4")
    assert code == 0, output
    assert "3 skip, 1 start" in output
    assert "_" not in _job_ids(command)[4]
    assert {seed: len(tries) for seed, tries in command.attempts().items()} == {1: 1, 2: 1, 3: 1, 4: 1}


def test_without_waiting_the_command_returns_and_status_tells_the_rest(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    code, output = command.run(*ON_SLURM, "seed=1,2", "sweep.wait=false", "num_updates=8")
    assert code == 0, output
    name = re.search(r"launching\.status (\S+) ", output)
    assert name is not None
    assert all(state != "finished" for state in command.states().values())
    code, output = command.run(*ON_SLURM, "seed=1,2", "sweep.wait=false", "num_updates=8")
    assert "2 leave alone" in output
    wait_until(lambda: set(command.states().values()) == {"finished"})
    code, output = command.status(name[1], "--json")
    assert code == 0, output
    assert [(run["state"], run["update"], run["attempts"]) for run in json.loads(output)] == [
        ("finished", 8, 1)
    ] * 2
    run = json.loads(output)[0]["run"]
    code, output = command.status("logs", run[:8])
    assert code == 0
    assert "completed successfully" in output


def test_failures_are_failures_everywhere(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="raise", s2="exit", s3="kill_always", s4="kill_once")
    code, output = command.run(*ON_SLURM, "seed=0,1,2,3,4", timeout_s=240)
    assert code == 1, output
    assert command.states() == {0: "finished", 1: "failed", 2: "failed", 3: "failed", 4: "finished"}
    ended = {0: "COMPLETED", 1: "FAILED", 2: "FAILED", 3: "FAILED", 4: "COMPLETED"}
    wait_until(lambda: _slurm_states(command) == ended)
    errors = {seed: read(folder / "status.json")["error"] for seed, folder in command.runs().items()}
    assert errors[1] == "ValueError: the shop is closed"
    assert errors[2] == "SystemExit: 0"
    assert errors[3] == "killed by SIGKILL (out of memory?), 3 attempts in a row"
    for seed in (1, 2, 3):
        assert f"failed {command.runs()[seed].name} seed={seed}: {errors[seed]} (" in output
        journal = (command.runs()[seed] / "journal.jsonl").read_text()
        assert '"status":"FAILED"' in journal.splitlines()[-1]
    assert _updates(command.runs()[4]) == [1, 2, 3, 4]


@pytest.mark.parametrize("fault", ["requeue", "usr2", "preempt", "node", "controller"])
def test_a_run_goes_on_where_it_was(tmp_path: Path, fault: str) -> None:
    command = Command(tmp_path / "runs", s1="slow")
    launcher = command.start(*ON_SLURM, "seed=1", f"num_updates={UPDATES}")
    wait_until(_has_begun(command))
    job = _job_ids(command)[1]
    if fault == "requeue":
        _slurm("scontrol", "requeue", job)
    elif fault == "usr2":
        _slurm("scancel", "--signal=USR2", job)
    elif fault == "preempt":
        _slurm("sbatch", "-p", "high", "--exclusive", "-N3", "-o", "/dev/null", "--wrap", "sleep 3")
    elif fault == "node":
        node = _slurm("squeue", "-h", "-j", job, "-o", "%N").strip()
        _slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    else:
        controller = int(
            Path(_slurm("scontrol", "show", "config").split("SlurmctldPidFile")[1].split()[1]).read_text()
        )
        subprocess.run(["kill", str(controller)], check=True)
        wait_until(lambda: not alive(controller))
        time.sleep(3)
        subprocess.run(["slurmctld"], check=True)
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, output
    assert command.states() == {1: "finished"}
    assert _updates(command.runs()[1]) == list(range(1, UPDATES + 1))
    assert len(command.attempts()[1]) == (1 if fault == "controller" else 2)


def test_a_cancelled_job_stays_cancelled_until_it_is_retried(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "seed=1,2", "num_updates=8")
    wait_until(_has_begun(command))
    _slurm("scancel", _job_ids(command)[1])
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 1, output
    assert command.states() == {1: "interrupted", 2: "finished"}
    assert _slurm_states(command)[1] == "CANCELLED"
    code, output = command.status("retry", _sweep(command))
    assert code == 0, output
    assert command.states() == {1: "finished", 2: "finished"}
    assert _updates(command.runs()[1]) == list(range(1, 9))
    assert {seed: len(tries) for seed, tries in command.attempts().items()} == {1: 2, 2: 1}


@pytest.mark.parametrize("policy", ["cancel", "leave"])
def test_ctrl_c_cancels_or_leaves(tmp_path: Path, policy: str) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "seed=1,2", "num_updates=12", f"sweep.on_interrupt={policy}")
    wait_until(_has_begun(command))
    code, output = end(launcher, signal.SIGINT)
    assert code == 130 if policy == "cancel" else code == 0, output
    if policy == "cancel":
        assert set(_slurm_states(command).values()) == {"CANCELLED"}
        assert set(command.states().values()) == {"interrupted"}
    else:
        assert set(_slurm_states(command).values()) == {"RUNNING"}
        code, output = command.status("cancel", _sweep(command))
        assert "cancelled 2 jobs" in output
        wait_until(lambda: set(_slurm_states(command).values()) == {"CANCELLED"})


def test_code_and_config_are_those_of_the_submission_after_a_requeue_too(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    source = copy_checkout(tmp_path / "checkout")
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'as launched'\n")
    command = Command(tmp_path / "runs", source, s1="late_import", s2="late_import")
    blocker = _slurm(
        "sbatch", "--parsable", "--exclusive", "-N3", "-o", "/dev/null", "--wrap", "sleep 60"
    ).strip()
    wait_until(lambda: "RUNNING" in _slurm("squeue", "-h", "-j", blocker, "-o", "%T"))
    code, output = command.run(*ON_SLURM, "seed=1,2", "sweep.wait=false", "num_updates=100")
    assert code == 0, output
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'edited'\n")
    for config in (source / "conf").rglob("*.yaml"):
        config.write_text("num_updates: 1\n")
    assert set(command.states().values()) == {"queued"}
    _slurm("scancel", blocker)
    wait_until(_has_begun(command))
    _slurm("scontrol", "requeue", _job_ids(command)[1])
    wait_until(lambda: set(command.states().values()) == {"finished"})
    notes = {seed: read(folder / "note.json") for seed, folder in command.runs().items()}
    assert {note["late"] for note in notes.values()} == {"as launched"}
    assert _updates(command.runs()[1]) == list(range(1, 101))
    assert len(command.attempts()[1]) == 2


def test_packed_runs_share_a_job_and_its_gpu(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="raise", s3="kill_once")
    code, output = command.run(
        *ON_SLURM,
        "hardware.gpus=1",
        "hardware.device=cuda",
        "sweep.pack=3",
        "seed=1,2,3,4",
        "hardware.cpus=6",
    )
    assert code == 1, output
    assert command.states() == {1: "finished", 2: "failed", 3: "finished", 4: "finished"}
    jobs = _job_ids(command)
    assert jobs[1] == jobs[2] == jobs[3] != jobs[4]
    ended = {1: "FAILED", 2: "FAILED", 3: "FAILED", 4: "COMPLETED"}
    wait_until(lambda: _slurm_states(command) == ended)
    first = {seed: tries[0] for seed, tries in command.attempts().items()}
    assert len({first[seed]["gpu"] for seed in (1, 2, 3)}) == 1
    assert first[1]["gpu"] in ("0", "1")
    assert {first[seed]["omp"] for seed in (1, 2, 3)} == {"2"}
    assert len(command.attempts()[3]) == 2


def test_a_packed_job_saves_all_its_runs_when_it_is_requeued(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    launcher = command.start(*ON_SLURM, "sweep.pack=2", "seed=1,2,3", "num_updates=10")
    wait_until(_has_begun(command))
    _slurm("scancel", "--signal=USR2", _job_ids(command)[1])
    output, _ = launcher.communicate(timeout=180)
    assert launcher.returncode == 0, output
    assert {seed: len(tries) for seed, tries in command.attempts().items()} == {1: 2, 2: 2, 3: 1}
    assert all(_updates(folder) == list(range(1, 11)) for folder in command.runs().values())


def test_the_processes_of_a_run_know_each_other_and_fall_together(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="peer_raise", s3="peer_kill_once")
    code, output = command.run(
        *ON_SLURM, "hardware.tasks_per_node=2", "seed=1,2,3", "num_updates=6", timeout_s=240
    )
    assert code == 1, output
    assert command.states() == {1: "finished", 2: "failed", 3: "finished"}
    tries = command.attempts()
    assert tries[1][0]["world"][:3] == ["2", "0", "0"]
    assert str(tries[1][0]["world"][3]).startswith("n")
    error = read(command.runs()[2] / "status.json")["error"]
    assert error == "process 1: ValueError: the shop is closed"
    wait_until(lambda: _slurm_states(command)[2] == "FAILED")
    # One process was killed; the other saved the run, which Slurm started again.
    assert len(tries[3]) == 2
    assert _updates(command.runs()[3]) == list(range(1, 7))


def test_a_dry_run_submits_nothing(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "hardware.gpus=2", "seed=1,2,3", "sweep.dry_run=true")
    assert code == 0, output
    assert "24.0 GPU-hours" in output  # 3 jobs x 2 GPUs x 4 h
    assert not (tmp_path / "runs/runs").exists()
    assert not (tmp_path / "runs/sweeps").exists()


def test_what_sbatch_refuses_is_one_line(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=1", "hardware.partition=nonsense")
    assert code == 2, output
    assert "error: hardware: sbatch refused the jobs:" in output
    assert "Traceback" not in output
    code, output = command.run(*ON_SLURM, "seed=1")
    assert code == 0, output


def test_a_job_whose_set_up_fails_is_a_failed_run(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=1", "hardware.python=/nonexistent/python")
    assert code == 1, output
    assert command.states() == {1: "failed"}


def _sweep(command: Command) -> str:
    return next((command.root / "sweeps").iterdir()).name
