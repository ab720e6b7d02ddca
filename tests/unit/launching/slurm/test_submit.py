"""Handing jobs to a Slurm whose controller comes and goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from webshop_rl.errors import UserError
from webshop_rl.launching.launchers import StopRequests
from webshop_rl.launching.slurm import submit as slurm_submit
from webshop_rl.launching.slurm import submitit_adapter
from webshop_rl.launching.slurm.jobs import Jobs
from webshop_rl.launching.slurm.submit import answering_controller, submit

AWAY = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


class Submitit:
    """An sbatch that refuses once for each of these lines, and then takes the jobs."""

    def __init__(self, *refusals: str) -> None:
        self.refusals = list(refusals)
        self.environment: dict[str, str] = {}

    def submit_array(self, tasks: Sequence[Callable[[], object]], **_: object) -> list[str]:
        if self.refusals:
            raise RuntimeError(f"some words of submitit's\n{self.refusals.pop(0)}")
        self.environment = dict(os.environ)
        return [f"8_{k}" for k in range(len(tasks))]


@pytest.fixture
def cancelled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Jobs that are cancelled; those with ids 7_... have been submitted from the folder."""
    found: list[str] = []
    monkeypatch.setattr(slurm_submit, "_AGAIN_S", 0.0)
    monkeypatch.setattr(slurm_submit, "query_jobs", lambda: Jobs({}))
    monkeypatch.setattr(slurm_submit, "jobs_of_scripts_in", lambda folders: ["7_0", "7_1"])
    monkeypatch.setattr(slurm_submit, "cancel", found.extend)
    return found


def _submit(monkeypatch: pytest.MonkeyPatch, submitit: Submitit) -> list[str]:
    monkeypatch.setattr(submitit_adapter, "submit_array", submitit.submit_array)
    return submit(
        [print, print], folder=Path("f"), python="python", parameters={}, noted={"7_1"}, stop=StopRequests()
    )


def test_jobs_that_sbatch_took_without_saying_so_are_cancelled_before_it_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _submit(monkeypatch, Submitit(TIMED_OUT)) == ["8_0", "8_1"]
    assert cancelled == ["7_0"]
    assert capsys.readouterr().err == f"waiting for Slurm's controller, Ctrl-C gives up: {TIMED_OUT}\n"


def test_what_sbatch_refuses_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    with pytest.raises(UserError, match="sbatch refused the jobs: invalid partition"):
        _submit(monkeypatch, Submitit("invalid partition specified: nonsense"))
    assert not cancelled


def test_the_wait_is_told_once_and_ends_when_the_controller_answers(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [Jobs(None, problem=AWAY), Jobs(None, problem=AWAY), Jobs({})]
    monkeypatch.setattr(slurm_submit, "query_jobs", lambda: answers.pop(0))
    assert answering_controller(StopRequests()).reachable
    assert capsys.readouterr().err.count("waiting for Slurm's controller, Ctrl-C gives up: ") == 1


def test_ctrl_c_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_submit, "query_jobs", lambda: Jobs(None, problem=AWAY))
    stop = StopRequests()
    stop.count, stop.signum = 1, signal.SIGINT
    with pytest.raises(SystemExit) as ended:
        answering_controller(stop)
    assert ended.value.code == 130


def test_a_slurm_that_is_not_set_up_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = "squeue: fatal: Could not establish a configuration source"
    monkeypatch.setattr(slurm_submit, "query_jobs", lambda: Jobs(None, problem=problem))
    assert not answering_controller(StopRequests()).reachable


def test_sbatch_does_not_take_the_job_it_is_called_in_for_options(
    monkeypatch: pytest.MonkeyPatch, cancelled: list[str]
) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_CPU": "7", "SLURM_CONF": "/c"}.items():
        monkeypatch.setenv(name, value)
    submitit = Submitit()
    _submit(monkeypatch, submitit)
    assert {name for name in submitit.environment if name.startswith("SLURM")} == {"SLURM_CONF"}
    assert os.environ["SLURM_MEM_PER_CPU"] == "7"
