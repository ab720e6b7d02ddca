"""The end of a job's script, run by bash with commands of Slurm that note how they are called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.hardware_parts import asking, hardware
from webshop_rl.launching.slurm.submit import sbatch_parameters

HARDWARE = hardware("slurm_cpu")
REQUEUED = -9  # Slurm kills the script while it sleeps


def _command(place: Path, name: str, text: str) -> None:
    path = place / name
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> {place}/called\n{text}\n')
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("of_srun", "seen", "job_end", "code", "called"),
    [
        (0, "RUNNING 0", 0, 0, []),
        (75, "RUNNING 0", 0, REQUEUED, ["squeue", "scontrol", "sleep"]),
        (137, "RUNNING 0", 75, REQUEUED, ["squeue", "python", "scontrol", "sleep"]),
        (137, "RUNNING 0", 1, 1, ["squeue", "python"]),
        (1, "RUNNING 0", 1, 1, ["squeue", "python"]),
        # Slurm has taken the job away; or it runs again, elsewhere.
        (75, "COMPLETING 0", 0, 75, ["squeue"]),
        (137, "RUNNING 1", 0, 137, ["squeue"]),
    ],
)
def test_what_becomes_of_a_job_whose_run_has_ended(
    tmp_path: Path, of_srun: int, seen: str, job_end: int, code: int, called: list[str]
) -> None:
    (tmp_path / "of the job").mkdir()
    (tmp_path / "of the job/12_3_0_result.pkl").touch()
    _command(tmp_path, "squeue", f"echo '{seen}'")
    _command(tmp_path, "scontrol", "exit 0")
    _command(tmp_path, "python", f"exit {job_end}")
    _command(tmp_path, "sleep", "kill -9 $PPID")
    asked = asking(HARDWARE, python=str(tmp_path / "python"))
    parameters = sbatch_parameters(asked, name="s", code=tmp_path, folder=tmp_path / "of the job", pack=1)
    script = "\n".join([f"(exit {of_srun})", *parameters["teardown"]])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {"SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3", "SLURM_JOB_ID": "15"}
    done = subprocess.run(["bash", "-c", script], env=environment, check=False, timeout=60)
    lines = (tmp_path / "called").read_text().splitlines() if (tmp_path / "called").exists() else []
    assert [line.split()[0] for line in lines] == called
    assert done.returncode == code
    # 15 is the array's own id, too: a requeue of it would be one of all.
    assert all("12_3" in line and "15" not in line for line in lines if line.startswith(("squ", "sco")))


def test_a_run_that_vanished_with_exit_code_0_is_looked_into(tmp_path: Path) -> None:
    _command(tmp_path, "squeue", "echo RUNNING 2")
    _command(tmp_path, "python", "exit 1")
    asked = asking(HARDWARE, python=str(tmp_path / "python"), container="env IN=1")
    parameters = sbatch_parameters(asked, name="s", code=tmp_path, folder=tmp_path, pack=1)
    script = "\n".join(["(exit 0)", *parameters["teardown"]])
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    environment |= {"SLURM_JOB_ID": "15", "SLURM_RESTART_COUNT": "2"}
    done = subprocess.run(["bash", "-c", script], env=environment, check=False, timeout=60)
    assert done.returncode == 1
    end = (tmp_path / "called").read_text().splitlines()[-1]
    assert end == f"python -m webshop_rl.launching.slurm.job {tmp_path} 0"
