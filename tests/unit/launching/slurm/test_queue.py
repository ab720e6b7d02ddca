"""What the waiting launcher does about a run whose job is over, by what run and job say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.shop5_parts import composed
from webshop_rl.config.load import as_typed
from webshop_rl.launching.launchers import StopRequests
from webshop_rl.launching.slurm import queue as slurm_queue
from webshop_rl.launching.slurm.commands import JobsWatch
from webshop_rl.launching.slurm.jobs import Job, Jobs, note_job
from webshop_rl.launching.slurm.queue import SlurmQueue
from webshop_rl.launching.sweep import Sweep
from webshop_rl.storage.folders import Root, RunFolder
from webshop_rl.storage.run_status import RunStatus, State, read_status
from webshop_rl.tracking.config import Destination


class Answers(JobsWatch):
    """Slurm has just said this."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job

    def latest(self) -> Jobs:
        return Jobs({"7_0": self.job}, asked=math.inf)


def _queue(root: Path, status: RunStatus, job: Job) -> tuple[SlurmQueue, RunFolder]:
    folder = Root(root).run("r")
    folder.path.mkdir(parents=True)
    folder.signature.write_text(json.dumps({"fields": {"num_updates": 9}}))
    status.write(folder)
    note_job(folder, "7_0", root)
    words = ("hardware=slurm_cpu", "hardware.threads=null", "hardware.restarts=2", f"root={root}")
    config = as_typed(composed(*words))
    queue = SlurmQueue(
        Sweep("s", config, Destination(config.tracking, root, "e"), "slurm"),
        [],
        [folder],
        code=root,
        launcher="l",
        watch=Answers(job),
        stop=StopRequests(),
    )
    return queue, folder


AT_WORK = RunStatus(State.RUNNING, attempts=1)


@pytest.mark.parametrize(
    ("status", "job", "starts_again", "state"),
    [
        (AT_WORK, "FAILED", True, State.QUEUED),
        (AT_WORK, "OUT_OF_MEMORY", True, State.QUEUED),
        (AT_WORK, "TIMEOUT", True, State.QUEUED),
        (replace(AT_WORK, state=State.INTERRUPTED), "FAILED", True, State.QUEUED),
        (replace(AT_WORK, state=State.PREEMPTED), "PREEMPTED", True, State.QUEUED),
        (replace(AT_WORK, crashes=2), "FAILED", False, State.FAILED),
        (AT_WORK, "CANCELLED", False, State.INTERRUPTED),
        (replace(AT_WORK, state=State.INTERRUPTED), "COMPLETED", False, State.INTERRUPTED),
        (replace(AT_WORK, state=State.FINISHED), "FAILED", False, State.FINISHED),
        (replace(AT_WORK, state=State.FAILED), "FAILED", False, State.FAILED),
        (RunStatus(State.QUEUED), "FAILED", False, State.FAILED),
    ],
)
def test_a_job_that_was_killed_starts_again_and_no_other(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: RunStatus,
    job: str,
    starts_again: bool,
    state: State,
) -> None:
    requeued: list[str] = []
    monkeypatch.setattr(slurm_queue, "requeue", lambda job_id: requeued.append(job_id) or True)
    queue, folder = _queue(tmp_path, status, Job(job, ended=1.0, seen=1000.0))
    queue.tick()
    assert requeued == (["7_0"] if starts_again else [])
    assert queue.done == (not starts_again)
    status = read_status(folder)
    assert status is not None
    assert status.state == state


def test_a_job_that_slurm_does_not_requeue_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_queue, "requeue", lambda job_id: False)
    queue, folder = _queue(tmp_path, AT_WORK, Job("FAILED"))
    queue.tick()
    status = read_status(folder)
    assert status is not None
    assert (status.state, status.error) == (State.FAILED, "its job ended without a report (Slurm: FAILED)")
    assert queue.done


def test_nothing_is_concluded_while_the_controller_is_away(tmp_path: Path) -> None:
    queue, folder = _queue(tmp_path, AT_WORK, Job("FAILED"))
    queue._watch.problem = "Unable to contact slurm controller"
    queue.tick()
    assert not queue.done
    assert queue.note == "waiting for Slurm's controller: Unable to contact slurm controller"
    assert read_status(folder) == AT_WORK


def test_the_arrays_wait_for_the_job_that_samples_reference_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted: list[tuple[list[Any], dict[str, Any], set[str]]] = []

    def submit(tasks: Any, *, parameters: Any, noted: Any, **_: Any) -> list[str]:
        submitted.append((list(tasks), parameters, set(noted)))
        return [f"{len(submitted)}0_{k}" for k in range(len(tasks))]

    monkeypatch.setattr(slurm_queue, "submit", submit)
    monkeypatch.setattr(slurm_queue, "max_array_size", lambda: 2)
    runs = [Root(tmp_path).run(f"r{k}") for k in range(3)]
    for run in runs:
        run.path.mkdir(parents=True)
    words = (
        "hardware=slurm_cpu",
        "hardware.slurm.tasks_per_node=2",
        "+hardware.slurm.sbatch.dependency=singleton",
    )
    config = as_typed(composed(*words, f"root={tmp_path}"))
    sweep = Sweep("s", config, Destination(config.tracking, tmp_path, "e"), "slurm")
    SlurmQueue(
        sweep, runs, [], code=tmp_path, launcher="l", watch=JobsWatch(), stop=StopRequests(), sampled=runs[:2]
    )
    (first, *arrays) = submitted
    ((task,), parameters, _) = first
    assert task.runs == tuple(runs[:2])
    assert (parameters["nodes"], parameters["ntasks_per_node"]) == (1, 1)
    assert parameters["additional_parameters"]["dependency"] == "singleton"
    assert [len(tasks) for tasks, _, _ in arrays] == [2, 1]
    for _, parameters, noted in arrays:
        assert parameters["additional_parameters"]["dependency"] == "singleton,afterany:10"
        assert parameters["ntasks_per_node"] == 2
        assert "10_0" in noted  # it is not taken for a job that nobody knows
