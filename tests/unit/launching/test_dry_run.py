"""sweep.dry_run=true: what would be asked for, in full, and nothing is left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY
from tests.support.slurm_commands import stand_in_commands
from webshop_rl.launching.dry_run import counted


@pytest.fixture(autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_commands(tmp_path_factory.mktemp("slurm") / "bin", monkeypatch)


def dry_run(root: Path, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "launch.py", *words, f"root={root}", "sweep.dry_run=true"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_it_shows_what_slurm_would_be_asked_for(tmp_path: Path) -> None:
    shown = dry_run(
        tmp_path / "runs",
        *("-m", "seed=0,1", "hardware=slurm_gpu", "hardware.slurm.partition=a100", "hardware.slurm.qos=long"),
        *("hardware.slurm.account=lab", "hardware.slurm.sbatch.constraint=h100"),
    )
    assert "2 jobs in 1 array, at most 2 at once; each 1 node, 1 process, 8 cores, 1 GPU, 24:00:00" in shown
    wanted = "asked of Slurm: partition a100, memory 32G a node, account lab, qos long, --constraint=h100"
    assert wanted in shown
    assert any(line.split()[:5] == ["run", "overrides", "would", "GPU", "memory"] for line in shown)


def test_what_the_cluster_decides_is_called_so(tmp_path: Path) -> None:
    shown = dry_run(tmp_path / "runs", "hardware=slurm_cpu", "hardware.slurm.mem=null")
    assert "asked of Slurm: partition (the default), memory (the default)" in shown


def test_it_shows_the_task_that_samples_reference_returns(tmp_path: Path) -> None:
    words = ("-m", "algo=apo_pg,rloo", "seed=0,1", "sweep.vstar_job=true")
    here = dry_run(tmp_path / "runs", *words)
    assert "before them 1 process: V*'s reference returns of 2 runs" in here
    there = dry_run(tmp_path / "runs", *words, "hardware=slurm_cpu", "hardware.slurm.tasks_per_node=3")
    assert "before them 1 job of 1 node, 1 process, 2 cores: V*'s reference returns of 2 runs" in there
    # Four runs of 3 processes of 2 cores for 4 hours, 96 core-hours, and 2 cores for 4 hours.
    assert "at most 0.0 GPU-hours and 104.0 core-hours (all to their time limit)" in there


@pytest.mark.parametrize("words", [[], ["-m", "seed=0,1"], ["-m", "seed=0,1", "hardware=slurm_cpu"]])
@pytest.mark.parametrize("tracking", ["journal", "mlflow"])
def test_it_leaves_nothing(tmp_path: Path, words: list[str], tracking: str) -> None:
    shown = dry_run(tmp_path / "deep" / "runs", *words, f"tracking={tracking}")
    assert shown[-1] == "nothing was started (sweep.dry_run)"
    assert list(tmp_path.iterdir()) == []


def test_a_root_that_cannot_be_written_is_found_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    command = [sys.executable, "launch.py", f"root={tmp_path / 'file' / 'runs'}", "sweep.dry_run=true"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(n, "job") for n in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert counted(2, "process", "processes") == "2 processes"
