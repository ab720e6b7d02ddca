"""What is used of submitit; whatever is not its public interface is used here alone.

submitit is imported where it is used: it takes as long as the rest of a launch.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def submit_array(
    tasks: Sequence[Callable[[], object]], *, folder: Path, python: str, parameters: Mapping[str, Any]
) -> list[str]:
    """Submit an array of jobs; their ids in the order of the tasks.

    Args:
        tasks: what the jobs execute; pickled into the folder.
        folder: for submitit's files; of this submission alone, for job ids may come again.
        python: the python command of the jobs.
        parameters: by submitit's names.
    """
    from submitit import SlurmExecutor

    executor = SlurmExecutor(folder, python=python)
    executor.update_parameters(**parameters)
    return [job.job_id for job in executor.submit_array(tasks)]


def job_id() -> str:
    """Id of the job that this process is in, `12_3` for a task of an array."""
    from submitit import JobEnvironment

    return str(JobEnvironment().job_id)


def rank() -> int:
    """Number of this process among those of its job."""
    from submitit import JobEnvironment

    return int(JobEnvironment().global_rank)


def export_ranks() -> None:
    """Set what torch.distributed reads, in a job of several processes."""
    from submitit import JobEnvironment
    from submitit.helpers import TorchDistributedEnvironment

    if JobEnvironment().num_tasks > 1:
        TorchDistributedEnvironment().export()


def folder() -> Path:
    """Where submitit keeps the files of the job that this process is in."""
    return Path(os.environ["SUBMITIT_FOLDER"])


def silence() -> None:
    """Keep submitit's lines out of the log: they would call a run that was stopped a success."""
    from submitit.core.logger import get_logger

    get_logger().setLevel(logging.CRITICAL)


def submitted_task(folder: Path) -> Any:
    """The callable of the job that this process is in.

    Args:
        folder: of its submission.
    """
    from submitit.core.utils import DelayedSubmission, JobPaths

    return DelayedSubmission.load(JobPaths(folder, job_id=job_id()).submitted_pickle).function


def stderr_file(folder: Path, job_id: str) -> Path:
    """What a job's script and its first process print on stderr."""
    return folder / f"{job_id}_0_log.err"


def result_file(folder: Path, job_id: str) -> Path:
    """What is there once the first process of a job ended as it should."""
    return folder / f"{job_id}_0_result.pkl"
