"""What the tests of this folder ask of the cluster, and of the runs on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.sweep_command import Command, alive, read, wait_until


class Cluster(Protocol):
    """Restarts the cluster with other settings of cluster.sh, until the test ends."""

    def __call__(self, **settings: str) -> None: ...


ON_SLURM = ("-m", "hardware=slurm_cpu", "hardware.slurm.mem=512M", "hardware.slurm.cpus=1")


STAND_INS = ("sbatch", "srun", "squeue", "scontrol", "scancel")


def stand_in_commands(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of Slurm that do nothing, on the PATH: for what only asks whether they are there."""
    folder.mkdir()
    for name in STAND_INS:
        command = folder / name
        command.write_text("#!/bin/sh\nexit 0\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def slurm_command(*words: str, check: bool = True) -> str:
    return subprocess.run(words, check=check, capture_output=True, text=True, timeout=180).stdout


def jobs_left() -> str:
    """Jobs that wait or run."""
    return slurm_command("squeue", "-h", "-r", "-o", "%i %T")


def job_ids(command: Command) -> dict[int, str]:
    """Jobs by seed."""
    return {
        seed: read(folder / "job.json")["job_id"]
        for seed, folder in command.runs().items()
        if (folder / "job.json").exists()
    }


def slurm_states(command: Command) -> dict[int, str]:
    """What Slurm calls the job of each run, by seed."""
    answer = slurm_command("squeue", "-h", "-r", "-t", "all", "-o", "%i %T")
    states = dict(line.split() for line in answer.splitlines())
    return {seed: states[job_id] for seed, job_id in job_ids(command).items()}


def attributes(job_id: str) -> dict[str, str]:
    """What `scontrol show job` says."""
    shown = slurm_command("scontrol", "show", "job", job_id)
    return dict(word.split("=", 1) for word in shown.split() if "=" in word)


def updates(folder: Path) -> list[int]:
    """Updates that were executed, again ones included."""
    log = folder / "updates.log"
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def has_begun(command: Command, *seeds: int) -> Callable[[], bool]:
    """Whether these runs have made two updates."""

    def begun() -> bool:
        runs = command.runs()
        return all(seed in runs and len(updates(runs[seed])) >= 2 for seed in seeds)

    return begun


def sweep_of(command: Command) -> str:
    """Name of the only sweep."""
    (folder,) = (command.root / "sweeps").iterdir()
    return folder.name


def attempts(command: Command) -> dict[int, int]:
    """How often each run was started, by seed."""
    return {seed: len(tries) for seed, tries in command.attempts().items()}


def controller() -> int:
    """Process id of slurmctld."""
    config = slurm_command("scontrol", "show", "config")
    return int(Path(config.split("SlurmctldPidFile")[1].split()[1]).read_text())


def stop_controller() -> None:
    pid = controller()
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not alive(pid))


def start_controller() -> None:
    subprocess.run(["slurmctld"], check=True)


def process_of(job_id: str, part: str) -> int:
    """Process id of a part of a running job.

    Args:
        part: run, srun, script (that of the job), or step (Slurm's process that looks after the run).
    """
    raw = attributes(job_id)["JobId"]
    marks = {
        "run": b"submitit.core._submit",
        "srun": b"srun\0",
        "script": f"job{raw}/slurm_script".encode(),
        "step": f"slurmstepd: [{raw}.0]".encode(),
    }
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes()
            environment = (path / "environ").read_bytes().split(b"\0")
            of_job = part in ("script", "step") or f"SLURM_JOB_ID={raw}".encode() in environment
            if of_job and marks[part] in words and (part != "run" or not words.startswith(b"srun")):
                found.append(int(path.name))
    return min(found)


def node_of(job_id: str) -> str:
    """Where a job runs."""
    return attributes(job_id)["NodeList"]


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Read what a command prints until it says so."""
    assert process.stdout is not None
    lines = []
    while line := process.stdout.readline():
        lines.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was not said: {lines}")
