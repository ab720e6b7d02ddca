"""The last lines of a job's script: a run that died without a word is started again, or failed.

    python -m webshop_rl.launching.job_end SUBMITIT_FOLDER EXIT_CODE_OF_SRUN

Its exit code is the job's, so Slurm calls the job what the run is.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, JobPaths

from webshop_rl.launching.deaths import after_death
from webshop_rl.launching.progress import last_log_line
from webshop_rl.launching.record import close_journal
from webshop_rl.launching.run_status import GOING, State, read_status
from webshop_rl.launching.slurm_cluster import job_state, requeue
from webshop_rl.launching.slurm_run import SlurmRun
from webshop_rl.launching.worker import peer_error

_SIGNALLED = 128


def main(arguments: Sequence[str]) -> int:
    """Settle the runs of this job; 1 if one of them failed."""
    folder, code = Path(arguments[0]), int(arguments[1])
    job_id = JobEnvironment().job_id
    if job_state(job_id) != "RUNNING":
        return code  # Slurm is ending or requeuing it
    paths = JobPaths(folder, job_id=job_id)
    task: SlurmRun = DelayedSubmission.load(paths.submitted_pickle).function
    again, failed = False, False
    for run_dir in task.folders:
        status = read_status(run_dir)
        if status is not None and status.state in GOING:
            told = peer_error(run_dir)
            killed = code > _SIGNALLED and not told
            cause = told or _cause(code, paths)
            status = after_death(run_dir, status, cause, restarts=task.restarts if killed else 0)
            close_journal(run_dir, status.state, status.error)
        again = again or (status is not None and status.state == State.QUEUED)
        failed = failed or (status is not None and status.state == State.FAILED)
    if again and requeue(job_id):
        return 0
    return 1 if failed else 0


def _cause(code: int, paths: JobPaths) -> str:
    if code <= _SIGNALLED:
        return f"exit code {code}: {last_log_line(paths.folder, paths.stderr.name)}"
    name = signal.Signals(code - _SIGNALLED).name
    return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
