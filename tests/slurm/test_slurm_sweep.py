"""Sweeps on a real Slurm with a stand-in for training: what is submitted, and what is not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from tests.support.slurm_commands import (
    ON_SLURM,
    Cluster,
    attempts,
    attributes,
    has_begun,
    job_ids,
    jobs_left,
    slurm_command,
    slurm_states,
    updates,
)
from tests.support.sweep_command import Command, copy_checkout, read, sampled_once_before, wait_until


def test_a_sweep_is_one_array_and_only_what_is_new_is_added(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == 0, output
    assert command.states() == {1: "finished", 2: "finished", 3: "finished"}
    wait_until(lambda: set(slurm_states(command).values()) == {"COMPLETED"})
    assert len({job_id.partition("_")[0] for job_id in job_ids(command).values()}) == 1
    code, output = command.run(*ON_SLURM, "seed=1,2,3,4")
    assert code == 0, output
    assert "3 skip, 1 start" in output
    assert "_" not in job_ids(command)[4]
    assert attempts(command) == {1: 1, 2: 1, 3: 1, 4: 1}


def test_arrays_are_no_larger_than_the_cluster_takes(tmp_path: Path, cluster: Cluster) -> None:
    cluster(MAX_ARRAY_SIZE="3")
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=range(1,8)", "hardware.slurm.array_parallelism=2")
    assert code == 0, output
    assert set(command.states().values()) == {"finished"}
    arrays = [job_id.partition("_")[0] for job_id in job_ids(command).values()]
    assert sorted(arrays.count(array) for array in set(arrays)) == [1, 3, 3]
    # Two at once in all: no moment had three at work.
    notes = [read(folder / "note.json") for folder in command.runs().values()]
    spans = [(note["started"], note["ended"]) for note in notes]
    assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) <= 2


def test_without_waiting_the_command_returns_and_status_tells_the_rest(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="slow", s2="slow")
    code, output = command.run(*ON_SLURM, "seed=1,2", "sweep.wait=false", "num_updates=8")
    assert code == 0, output
    name = re.search(r"status (\S+) --root", output)
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
    assert "attempt 1 on " in output


def test_code_and_config_are_those_of_the_submission_after_a_requeue_too(tmp_path: Path) -> None:
    (tmp_path / "checkout").mkdir()
    source = copy_checkout(tmp_path / "checkout", trains=False)
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'as launched'\n")
    command = Command(tmp_path / "runs", source, s1="late_import", s2="late_import")
    blocker = slurm_command(
        "sbatch", "--parsable", "--exclusive", "-N3", "-o", "/dev/null", "--wrap", "sleep 60"
    ).strip()
    wait_until(lambda: "RUNNING" in slurm_command("squeue", "-h", "-j", blocker, "-o", "%T"))
    code, output = command.run(*ON_SLURM, "seed=1,2", "sweep.wait=false", "num_updates=100")
    assert code == 0, output
    (source / "webshop_rl/late_probe.py").write_text("VALUE = 'edited'\n")
    for config in (source / "conf").rglob("*.yaml"):
        config.write_text("num_updates: 1\n")
    assert set(command.states().values()) == {"queued"}
    slurm_command("scancel", blocker)
    wait_until(has_begun(command, 1))
    slurm_command("scontrol", "requeue", job_ids(command)[1])
    wait_until(lambda: set(command.states().values()) == {"finished"})
    notes = {seed: read(folder / "note.json") for seed, folder in command.runs().items()}
    assert {note["late"] for note in notes.values()} == {"as launched"}
    assert updates(command.runs()[1]) == list(range(1, 101))
    assert attempts(command)[1] == 2


def test_packed_runs_share_a_job_and_its_gpu(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s2="raise", s3="kill_once")
    code, output = command.run(
        *ON_SLURM,
        "hardware.slurm.gpus=1",
        "hardware.device=cuda",
        "sweep.pack=3",
        "seed=1,2,3,4",
        "hardware.slurm.cpus=6",
    )
    assert code == 1, output
    assert command.states() == {1: "finished", 2: "failed", 3: "finished", 4: "finished"}
    jobs = job_ids(command)
    assert jobs[1] == jobs[2] == jobs[3] != jobs[4]
    ended = {1: "FAILED", 2: "FAILED", 3: "FAILED", 4: "COMPLETED"}
    wait_until(lambda: slurm_states(command) == ended)
    first = {seed: tries[0] for seed, tries in command.attempts().items()}
    assert len({first[seed]["gpu"] for seed in (1, 2, 3)}) == 1
    assert first[1]["gpu"] in ("0", "1")
    assert {first[seed]["omp"] for seed in (1, 2, 3)} == {"2"}
    assert attempts(command)[3] == 2


def test_the_hardware_file_reaches_sbatch_and_the_job(tmp_path: Path, cluster: Cluster) -> None:
    """As a user writes it: partition, account, qos, limits, set-up lines, container, further options."""
    cluster(ACCOUNTING="slurmdbd")  # which knows the account and the qos
    command = Command(tmp_path / "runs")
    command.environment["MARKS"] = "SET_UP,IN_CONTAINER"
    # Inside a job of another shell sbatch would take these for options.
    command.environment |= {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "7", "SLURM_NTASKS": "3"}
    code, output = command.run(
        *ON_SLURM,
        "hardware.executor=auto",
        "hardware.slurm.partition=high",
        "hardware.slurm.account=lab",
        "hardware.slurm.qos=urgent",
        "hardware.slurm.time=0-01:30:00",
        "hardware.slurm.cpus=3",
        "hardware.slurm.array_parallelism=1",
        "hardware.slurm.setup=['export SET_UP=\"on $SLURMD_NODENAME\"']",
        "hardware.slurm.container='env IN_CONTAINER=yes'",
        "+hardware.slurm.sbatch={comment: 'a sweep', exclude: n1, nice: 5}",
        "sweep.name=mine",
        "seed=1,2",
    )
    assert code == 0, output
    assert "slurm (auto: sbatch is here)" in output
    job = attributes(job_ids(command)[1])
    assert [job[key] for key in ("Partition", "Account", "QOS")] == ["high", "lab", "urgent"]
    assert [job[key] for key in ("TimeLimit", "CPUs/Task", "ArrayTaskThrottle")] == ["01:30:00", "3", "1"]
    assert [job[key] for key in ("Nice", "ExcNodeList")] == ["5", "n1"]
    assert (job["JobName"], job["Requeue"], job["MinMemoryNode"]) == ("mine", "1", "512M")
    note = read(command.runs()[1] / "note.json")
    assert note["marks"] == {"SET_UP": f"on {job['NodeList']}", "IN_CONTAINER": "yes"}


def test_a_dry_run_submits_nothing(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "hardware.slurm.gpus=2", "seed=1,2,3", "sweep.dry_run=true")
    assert code == 0, output
    assert "24.0 GPU-hours" in output  # 3 jobs x 2 GPUs x 4 h
    assert re.search(r"disk while running: up to [\d.]+ [GM]B", output)
    assert re.search(r"seed=1 +start +\S+ GB", output)
    assert not (tmp_path / "runs/runs").exists()
    assert not (tmp_path / "runs/sweeps").exists()


def test_what_sbatch_refuses_is_one_line_and_leaves_nothing_in_the_queue(
    tmp_path: Path, cluster: Cluster
) -> None:
    cluster(MAX_ARRAY_SIZE="2")
    command = Command(tmp_path / "runs")
    # The cluster takes the first array; the second is over some limit of its.
    (tmp_path / "bin").mkdir()
    once = tmp_path / "bin/sbatch"
    once.write_text(
        f'#!/bin/sh\nmkdir {tmp_path}/once 2>/dev/null && exec {shutil.which("sbatch")} --hold "$@"\n'
        "echo 'sbatch: error: QOSMaxSubmitJobPerUserLimit' >&2; exit 1\n"
    )
    once.chmod(0o755)
    path = command.environment["PATH"]
    command.environment["PATH"] = f"{once.parent}:{path}"
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == 2, output
    assert output == "error: hardware: sbatch refused the jobs: sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
    assert not jobs_left()
    command.environment["PATH"] = path
    code, output = command.run(*ON_SLURM, "seed=1,2,3")
    assert code == 0, output
    assert attempts(command) == {1: 1, 2: 1, 3: 1}


def test_a_job_whose_set_up_fails_is_a_failed_run(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "seed=1", "hardware.slurm.python=/nonexistent/python")
    assert code == 1, output
    assert command.states() == {1: "failed"}
    assert "No such file or directory" in read(command.runs()[1] / "status.json")["error"]
    code, output = command.status("logs", command.runs()[1].name)
    assert code == 0
    assert "/nonexistent/python" in output


def test_the_arrays_wait_for_the_job_that_samples_reference_returns(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run(*ON_SLURM, "algo=apo_pg,rloo", "seed=1,2", "sweep.vstar_job=true")
    assert code == 0, output
    sampled_once_before(tmp_path / "runs")
    wait_until(lambda: not jobs_left())
