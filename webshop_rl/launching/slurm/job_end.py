"""What a job's script asks when a run died without a word: is it started again, or has it failed?

    python -m webshop_rl.launching.slurm.job_end SUBMITIT_FOLDER EXIT_CODE_OF_SRUN

Its exit code says so (`REQUEUE`), and is the job's else, so that Slurm calls the job what the run is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from submitit.core.job_environment import JobEnvironment
from submitit.core.utils import DelayedSubmission, JobPaths

from webshop_rl.launching.runs.deaths import after_death, killed_by
from webshop_rl.launching.runs.ended import close_journal
from webshop_rl.launching.runs.progress import last_line
from webshop_rl.launching.runs.state import GOING, State, read_status
from webshop_rl.launching.runs.worker import peer_error
from webshop_rl.launching.slurm.run import REQUEUE, SlurmRun

_SIGNALLED = 128


def main(arguments: Sequence[str]) -> int:
    """Settle the runs of this job; REQUEUE if one is to go on, else 1 if one of them failed."""
    folder, code = Path(arguments[0]), int(arguments[1])
    paths = JobPaths(folder, job_id=JobEnvironment().job_id)
    task: SlurmRun = DelayedSubmission.load(paths.submitted_pickle).function
    again, failed = False, False
    for run_dir in task.folders:
        status = read_status(run_dir)
        # One that is preempted has saved itself; what ended the job came after.
        if status is not None and status.state in GOING and status.state != State.PREEMPTED:
            told = peer_error(run_dir)
            killed = code > _SIGNALLED and not told
            cause = told or _cause(code, paths)
            status = after_death(run_dir, status, cause, restarts=task.restarts if killed else 0)
            close_journal(run_dir, status.state, status.error)
        again = again or (status is not None and status.state in (State.QUEUED, State.PREEMPTED))
        failed = failed or (status is not None and status.state == State.FAILED)
    return REQUEUE if again else int(failed)


def _cause(code: int, paths: JobPaths) -> str:
    if code > _SIGNALLED:
        return killed_by(code - _SIGNALLED)
    return f"exit code {code}: {last_line(paths.stderr)}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
