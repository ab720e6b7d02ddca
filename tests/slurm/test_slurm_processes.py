"""Real training in two processes on Slurm: as one process computes it, also when one of them is killed."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from tests.support.sweep_command import Command, read, wait_until
from tests.support.tracking import last_values
from webshop_rl.tracking.rows import read_rows

SMALL = (
    "model.num_layers=2",
    "model.hidden_size=32",
    "algo.goals_per_update=2",
    "algo.group_size=4",
    "vstar.num_samples=2",
    "checkpoint.every=2",
    "evaluation.every=6",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=5",
    "num_updates=12",
    "seed=1",
)
ON_SLURM = (
    "-m",
    "hardware=slurm_cpu",
    "hardware.slurm.mem=4G",
    "hardware.slurm.cpus=1",
    "hardware.slurm.tasks_per_node=2",
)


def _real(root: Path) -> Command:
    return Command(root, trains=True)


def _losses(folder: Path) -> dict[int, float]:
    rows = [row for row in read_rows(folder / "journal.jsonl") if row["kind"] == "metrics"]
    return {row["step"]: row["metrics"]["optim/loss"] for row in rows if "optim/loss" in row["metrics"]}


def _processes_of(run: str) -> dict[int, int]:
    """Process ids of a run's tasks by their rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            entries = dict(e.split(b"=", 1) for e in path.read_bytes().split(b"\0") if b"=" in e)
            command = (path.parent / "cmdline").read_bytes()
            if b"submitit.core._submit" in command and b"srun" not in command and b"SLURM_PROCID" in entries:
                folder = entries.get(b"SUBMITIT_FOLDER", command).decode(errors="replace")
                if run in folder:
                    found[int(entries[b"SLURM_PROCID"])] = int(path.parent.name)
    return found


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_learns_and_survive_a_kill(tmp_path: Path, strategy: str) -> None:
    alone, together = _real(tmp_path / "alone"), _real(tmp_path / "together")
    code, output = alone.run("-m", *SMALL)
    assert code == 0, output
    name = f"together-{strategy}"
    launcher = together.start(*ON_SLURM, *SMALL, f"hardware.strategy={strategy}", f"sweep.name={name}")
    wait_until(lambda: bool(together.runs()) and len(_losses_so_far(together)) >= 3, timeout_s=120)
    os.kill(_processes_of(name)[1], signal.SIGKILL)
    output, _ = launcher.communicate(timeout=240)
    assert launcher.returncode == 0, output
    one, two = alone.runs()[1], together.runs()[1]
    assert one.name == two.name  # the number of processes is no part of a run's identity
    assert read(two / "status.json")["attempts"] == 2
    expected, found = _losses(one), _losses(two)
    assert expected.keys() == found.keys() == set(range(1, 13))
    assert found == pytest.approx(expected, abs=1e-5)
    assert last_values(two / "journal.jsonl")["test/score"].value == pytest.approx(
        last_values(one / "journal.jsonl")["test/score"].value
    )
    assert not read(two / "result.json")["resume_mismatches"]


def _losses_so_far(command: Command) -> dict[int, float]:
    folder = command.runs()[1]
    return _losses(folder) if (folder / "journal.jsonl").exists() else {}
