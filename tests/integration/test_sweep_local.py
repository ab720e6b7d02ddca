"""A sweep on local processes, from the command line to the folders: who runs, fails, or is skipped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.sweep_command import QUICK, Command, read, sampled_once_before

CORES = len(os.sched_getaffinity(0))


def test_grid_runs_once_and_a_wider_grid_adds_only_what_is_new(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run("-m", "algo=apo_sft,apo_pg", "lr=5e-6,1e-5")
    assert code == 0, output
    signatures = [read(f) for f in (tmp_path / "runs/runs").glob("*/signature.json")]
    assert {(s["fields"]["algo.name"], s["fields"]["lr"]) for s in signatures} == {
        (algo, lr) for algo in ("apo_sft", "apo_pg") for lr in (5e-6, 1e-5)
    }
    assert "algo=apo_sft lr=1e-05" in output
    assert "1.000" in output  # lr 1e-5 times 1e5, the stand-in's score
    manifest = read(next((tmp_path / "runs/sweeps").glob("*/manifest.json")))
    assert [run["overrides"] for run in manifest["runs"]] == [
        ["algo=apo_sft", "lr=5e-06"], ["algo=apo_sft", "lr=1e-05"],
        ["algo=apo_pg", "lr=5e-06"], ["algo=apo_pg", "lr=1e-05"],
    ]  # fmt: skip
    code, output = command.run("-m", "algo=apo_sft,apo_pg", "lr=5e-6,1e-5,2e-5")
    assert code == 0, output
    assert "2 start" in output
    assert "4 skip" in output
    attempts = [len((f.parent / "attempts.jsonl").read_text().splitlines()) for f in _statuses(tmp_path)]
    assert attempts == [1] * 6


def test_runs_share_the_cores_and_import_the_frozen_code(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run("-m", "seed=1,2,3", "num_updates=20")
    assert code == 0, output
    notes = [read(f.parent / "note.json") for f in _statuses(tmp_path)]
    moments = sorted([(n["started"], 1) for n in notes] + [(n["ended"], -1) for n in notes])
    at_once = [sum(step for _, step in moments[: k + 1]) for k in range(len(moments))]
    slots = min(CORES, 3)
    assert max(at_once) <= slots
    assert {n["omp"] for n in notes} == {str(max(1, CORES // slots))}
    assert {n["gpu"] for n in notes} == {""}
    frozen = read(_statuses(tmp_path)[0].parent / "signature.json")["code_digest"]
    assert {n["package"] for n in notes} == {str(tmp_path / "runs/code" / frozen / "webshop_rl")}


def test_failed_runs_are_named_the_others_finish_and_only_retry_runs_them_again(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="raise", s2="exit")
    code, output = command.run("-m", "seed=0,1,2,3")
    assert code == 1, output
    assert command.states() == {0: "finished", 1: "failed", 2: "failed", 3: "finished"}
    errors = {seed: read(folder / "status.json")["error"] for seed, folder in command.runs().items()}
    assert errors == {0: "", 1: "ValueError: the shop is closed and a second line", 2: "SystemExit: 0", 3: ""}
    assert (
        sum("ValueError: the shop is closed and a second line (/" in line for line in output.splitlines())
        == 1
    )
    assert "Traceback" not in output
    log = (command.runs()[1] / "log.txt").read_text()
    assert "Traceback" in log
    assert "and a second line" in log

    healed = Command(tmp_path / "runs")
    code, output = healed.run("-m", "seed=0,1,2,3")
    assert code == 1, output
    assert "2 keep failed" in output
    code, output = healed.run("-m", "seed=0,1,2,3", "retry=true")
    assert code == 0, output
    assert {seed: len(tries) for seed, tries in healed.attempts().items()} == {0: 1, 1: 2, 2: 2, 3: 1}


def test_a_killed_run_starts_again_and_one_that_always_dies_fails(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs", s1="kill_once", s2="kill_always")
    code, output = command.run("-m", "seed=1,2")
    assert code == 1, output
    assert command.states() == {1: "finished", 2: "failed"}
    # restarts: 2, so the one that always dies is tried three times.
    assert {seed: len(tries) for seed, tries in command.attempts().items()} == {1: 2, 2: 3}
    assert "killed by SIGKILL (out of memory?), 3 attempts in a row" in output
    steps = (command.runs()[1] / "updates.log").read_text().split()
    assert steps == ["1", "2", "3", "4"]  # nothing was done twice


def test_the_same_run_twice_in_a_grid_is_executed_once(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run("-m", "seed=1", "lr=1e-5,0.00001")
    assert code == 0, output
    assert len(_statuses(tmp_path)) == 1
    assert "1 of them twice" in output


@pytest.mark.parametrize(
    ("overrides", "where"),
    [
        (["hardware=cpu,gpu"], "hardware"),
        (["root=a,b"], "root"),
        (["tracking=mlflow,journal"], "tracking"),
        (["sweep.pack=1,2"], "sweep"),
        (["lr=1e-5,-1"], "lr"),
        (["seed=1,2", "sweep.wait=false"], "sweep.wait"),
        (["seed=1,2", "sweep.name=a/b"], "sweep.name"),
        (["seed=1,2", "hardware.executor=slurm"], "hardware.executor"),
    ],
)
def test_bad_input_is_one_line_and_nothing_starts(tmp_path: Path, overrides: list[str], where: str) -> None:
    command = Command(tmp_path / "runs")
    command.environment["PATH"] = "/nonexistent"  # no sbatch, whatever this machine has
    code, output = command.run("-m", *overrides)
    assert code == 2, output
    lines = [line for line in output.splitlines() if line.strip()]
    assert len(lines) == 1
    assert lines[0].startswith(f"error: {where}")
    assert not (tmp_path / "runs" / "runs").exists()


def test_a_run_that_is_in_two_sweeps_is_executed_by_the_first(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    assert command.run("-m", "seed=1,2")[0] == 0
    code, output = command.run("-m", "seed=2,3")
    assert code == 0, output
    assert "1 start, 1 skip" in output or "1 skip, 1 start" in output
    sweeps = [json.loads(p.read_text()) for p in (tmp_path / "runs/sweeps").glob("*/manifest.json")]
    assert sorted(len(s["runs"]) for s in sweeps) == [2, 2]


def _statuses(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "runs/runs").glob("*/status.json"))


def test_reference_returns_are_sampled_before_the_runs_begin(tmp_path: Path) -> None:
    command = Command(tmp_path / "runs")
    code, output = command.run("-m", "algo=apo_pg,rloo", "seed=1,2", "sweep.vstar_job=true")
    assert code == 0, output
    sampled_once_before(tmp_path / "runs")
    (log,) = (tmp_path / "runs/sweeps").glob("*/vstar.log")
    assert log.read_text() == "reference episodes played: 16\n"


def test_what_is_sampled_first_is_all_that_the_runs_look_up(tmp_path: Path) -> None:
    """With real training: the runs find every reference return in the store."""
    command = Command(tmp_path / "runs", trains=True)
    code, output = command.run("-m", *QUICK, "seed=1,2", "num_updates=2", "sweep.vstar_job=true")
    assert code == 0, output
    (log,) = (tmp_path / "runs/sweeps").glob("*/vstar.log")
    looked_at = set()
    for folder in command.runs().values():
        (checkpoint, *_) = sorted((folder / "checkpoints").glob("update_000002/state.json"))
        state = read(checkpoint)
        assert state["vstar_played"] == 0
        looked_at |= set(state["vstar_samples"])
    assert log.read_text().splitlines()[-1] == f"reference episodes played: {8 * len(looked_at)}"
