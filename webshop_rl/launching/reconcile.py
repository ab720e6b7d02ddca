"""What is true of a run now: what its status says beside what processes, launchers and Slurm show."""

from __future__ import annotations

import signal
from dataclasses import dataclass

from webshop_rl.launching.progress import last_line, read_progress
from webshop_rl.launching.slurm.commands import query_jobs
from webshop_rl.launching.slurm.jobs import Job, Jobs, SubmittedJob, submitted_job
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State, read_status

# States of Slurm's for jobs whose node was taken away, and for those that ended by themselves.
_TAKEN_AWAY = ("TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")
_CRASHED = ("FAILED", "OUT_OF_MEMORY", *_TAKEN_AWAY)
# What something else than the run's own process may change.
_UNSETTLED = (*GOING, State.INTERRUPTED)


@dataclass(frozen=True)
class Evidence:
    """What can be seen of a run from outside.

    Attributes:
        process: whether a process executes it.
        launcher: whether the launcher that its status names is alive.
        job: the Slurm job that it was last submitted as; None without one.
        job_error: the last line that the job printed on stderr.
    """

    process: bool = False
    launcher: bool = False
    job: Job | None = None
    job_error: str = ""


def reconcile(status: RunStatus, seen: Evidence) -> RunStatus:
    """The status that fits what is seen: nothing runs without a process or waits without a queue."""
    if status.state not in _UNSETTLED:
        return status
    if seen.job is not None:
        return _with_job(status, seen.job, seen)
    if status.state == State.RUNNING and not seen.process:
        return status.wait_for_launcher() if seen.launcher else status.lose_process("its process is gone")
    if status.state == State.QUEUED and not seen.launcher:
        return status.leave_queue()
    return status


def _with_job(status: RunStatus, job: Job, seen: Evidence) -> RunStatus:
    if job.waits:
        return status.wait_for_job()
    if not job.over:
        # An interrupted run whose job is still being ended may be about to run again.
        return status.wait_for_job() if status.state == State.INTERRUPTED else status
    cause = crash_cause(status, job)
    if cause and job.state not in _TAKEN_AWAY:
        return status.lose_job(f"{cause}: {seen.job_error}" if seen.job_error else cause, failed=True)
    gone = f"its job is over (Slurm: {job.state})" if job.state else "its job is gone"
    return status.lose_job(status.error or cause or gone, failed=False)


def crash_cause(status: RunStatus, job: Job) -> str:
    """How a job ended that nobody asked to end, and whose run could not report it; "" for any other.

    Args:
        status: of a run that is not finished and has not failed.
        job: one that is over.
    """
    crashed = job.state in _CRASHED or (job.state == "COMPLETED" and status.state == State.RUNNING)
    return f"its job ended without a report (Slurm: {job.state})" if crashed else ""


def observe(run: RunFolder, jobs: Jobs | None = None) -> RunStatus | None:
    """The status of a run, reconciled with what can be seen from here.

    Args:
        run: the run's folder.
        jobs: Slurm's view of the moment; it is asked if the run was submitted as a job and None is given.
    Returns: None if the folder contains no run.
    """
    before = read_status(run)
    if before is None or before.state not in _UNSETTLED:
        return before
    if submitted := submitted_job(run):
        seen = _job_evidence(run, submitted, jobs or query_jobs())
    else:
        process = before.state == State.RUNNING and run.worker_lock.holder() is not None
        seen = Evidence(process=process, launcher=not process and launcher_alive(run, before))
    # The run itself may have reported something between the look at it and those at the rest.
    latest = read_status(run) or before
    return latest if seen is None or latest != before else reconcile(latest, seen)


def _job_evidence(run: RunFolder, submitted: SubmittedJob, jobs: Jobs) -> Evidence | None:
    """None if Slurm does not say what becomes of the run."""
    job = jobs.get(submitted.job_id, submitted=submitted.submitted)
    if job is None or (job.forgotten and run.worker_lock.holder() is not None):
        return None
    return Evidence(job=job, job_error=last_line(submitted.stderr) if job.over else "")


def launcher_alive(run: RunFolder, status: RunStatus) -> bool:
    """Whether the launcher that a run's status names still runs."""
    return bool(status.launcher) and run.root.launcher_lock(status.launcher).holder() is not None


def settle(run: RunFolder, seen: RunStatus) -> bool:
    """Write down how a run ended that could not do so itself, for Slurm forgets its jobs; True if so."""
    if seen.state not in (State.FAILED, State.INTERRUPTED) or seen == read_status(run):
        return False
    seen.settle().write(run)
    return True


def record_crash(run: RunFolder, status: RunStatus, cause: str, *, restarts: int) -> RunStatus:
    """Write and return the status of a run that crashed: queued again, or failed; see RunStatus.crash."""
    return status.crash(cause, update=read_progress(run).update, restarts=restarts).write(run)


def killed_by(signum: int) -> str:
    """A crash by a signal, in a few words."""
    name = signal.Signals(signum).name
    return f"killed by {name}" + (" (out of memory?)" if signum == signal.SIGKILL else "")
