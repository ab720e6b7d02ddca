"""What the platform knows of submitit beyond its public interface still holds of the version installed."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from submitit import SlurmExecutor
from submitit.core.job_environment import JobEnvironment
from submitit.core.logger import get_logger
from submitit.core.utils import DelayedSubmission, JobPaths

from tests.support.paths import REPOSITORY
from tests.support.slurm_commands import stand_in_commands
from webshop_rl.launching.slurm import submitit_adapter


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """This process is the second of job 12_3, as Slurm's and submitit's variables have it."""
    variables = {
        "SUBMITIT_EXECUTOR": "slurm",
        "SUBMITIT_FOLDER": str(tmp_path),
        "SLURM_JOB_ID": "15",
        "SLURM_ARRAY_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_PROCID": "1",
        "SLURM_NTASKS": "2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return "12_3"


def test_a_job_knows_itself(job: str, tmp_path: Path) -> None:
    assert submitit_adapter.job_id() == job == JobEnvironment().job_id
    assert submitit_adapter.rank() == 1


def test_a_job_as_submitit_starts_it_finds_its_folder_and_leaves_its_result(
    job: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The command is the one of submitit's own scripts."""
    stand_in_commands(tmp_path / "bin", monkeypatch)  # submitit looks for srun
    monkeypatch.delenv("SUBMITIT_FOLDER")
    monkeypatch.setenv("SLURM_PROCID", "0")
    DelayedSubmission(submitit_adapter.folder).dump(JobPaths(tmp_path, job_id=job).submitted_pickle)
    (command,) = SlurmExecutor(tmp_path, python=sys.executable)._submitit_command_str.split("\n")
    subprocess.run(command, shell=True, cwd=REPOSITORY, check=True, timeout=120)
    with submitit_adapter.result_file(tmp_path, job).open("rb") as file:
        assert pickle.load(file) == ("success", tmp_path)


def test_files_of_a_job_are_where_submitit_has_them(job: str, tmp_path: Path) -> None:
    paths = JobPaths(tmp_path, job_id=job)
    assert submitit_adapter.stderr_file(paths.folder, job) == paths.stderr
    assert submitit_adapter.result_file(paths.folder, job) == paths.result_pickle


def test_the_task_of_a_job_is_read_back(job: str, tmp_path: Path) -> None:
    DelayedSubmission(print).dump(JobPaths(tmp_path, job_id=job).submitted_pickle)
    assert submitit_adapter.submitted_task(tmp_path) is print


def test_submitit_prints_nothing_into_a_log(caplog: pytest.LogCaptureFixture) -> None:
    level = get_logger().level
    try:
        submitit_adapter.silence()
        assert not get_logger().isEnabledFor(logging.ERROR)
    finally:
        get_logger().setLevel(level)
