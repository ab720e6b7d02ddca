"""A run that dies is failed everywhere, or starts again; with and without accounting, the others go on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.slurm_commands import ON_SLURM, Cluster, slurm_states, updates
from tests.support.sweep_command import Command, read, wait_until


@pytest.mark.parametrize("accounting", ["slurmdbd", "none"])
def test_failures_are_failures_everywhere(tmp_path: Path, cluster: Cluster, accounting: str) -> None:
    cluster(ACCOUNTING=accounting)
    sacct = subprocess.run(["sacct"], check=False, capture_output=True).returncode
    assert (sacct == 0) == (accounting == "slurmdbd")
    command = Command(
        tmp_path / "my runs", s1="raise", s2="exit", s3="kill_always", s4="kill_once", s5="vanish"
    )
    code, output = command.run(*ON_SLURM, "seed=range(0,6)", timeout_s=240)
    assert code == 1, output
    failed, finished = {1: "failed", 2: "failed", 3: "failed", 5: "failed"}, {0: "finished", 4: "finished"}
    assert command.states() == failed | finished
    ended = {seed: "FAILED" if seed in failed else "COMPLETED" for seed in range(6)}
    wait_until(lambda: slurm_states(command) == ended)
    errors = {seed: read(folder / "status.json")["error"] for seed, folder in command.runs().items()}
    assert errors[1] == "ValueError: the shop is closed and a second line"
    assert errors[2] == "SystemExit: 0"
    assert errors[3] == "killed by SIGKILL (out of memory?), 3 attempts in a row"
    assert errors[5].startswith("exit code 0")
    for seed in failed:
        assert f"failed {command.runs()[seed].name} seed={seed}: {errors[seed]} (" in output
        journal = (command.runs()[seed] / "journal.jsonl").read_text()
        assert '"status":"FAILED"' in journal.splitlines()[-1]
    assert updates(command.runs()[4]) == [1, 2, 3, 4]
