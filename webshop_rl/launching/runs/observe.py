"""What is true of a run now: its own word beside what processes, launchers and Slurm show."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from webshop_rl.launching.cluster.commands import query_jobs
from webshop_rl.launching.cluster.jobs import Job, Jobs
from webshop_rl.launching.runs.presence import launcher_alive
from webshop_rl.launching.runs.progress import last_line
from webshop_rl.launching.runs.state import (
    GOING,
    HoldingJob,
    RunStatus,
    State,
    holding_job,
    read_status,
    worker_lock,
    write_status,
)

# How Slurm calls jobs that ended by no wish of anyone's: by themselves, or because it took the node away.
_TAKEN_AWAY = ("TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED")
_DIED = ("FAILED", "OUT_OF_MEMORY", *_TAKEN_AWAY)
# What something else than the run's own word may change.
_UNSETTLED = (*GOING, State.INTERRUPTED)


def observe(root: Path, run_dir: Path, jobs: Jobs | None = None) -> RunStatus | None:
    """The status with what can be seen from here: nothing runs without a process or waits without a queue.

    Args:
        root: folder of the runs.
        run_dir: the run's folder.
        jobs: Slurm's view of the moment, asked for if a job holds the run and None is given.
    Returns: None if the folder holds no run.
    """
    status = read_status(run_dir)
    if status is None or status.state not in _UNSETTLED:
        return status
    if holder := holding_job(run_dir):
        job = (jobs or query_jobs()).get(holder.job_id, submitted=holder.submitted)
        latest = read_status(run_dir) or status
        if job is None or (job.forgotten and worker_lock(run_dir).holder() is not None):
            return latest
        return _seen_with_job(status, latest, job, holder)
    if status.state == State.RUNNING and worker_lock(run_dir).holder() is None:
        # The holder may have ended, and said so, between our two looks.
        if (now := read_status(run_dir)) != status:
            return now
        if launcher_alive(root, status.launcher):
            return replace(status, state=State.QUEUED)  # its launcher will start it again
        return replace(status, state=State.INTERRUPTED, launcher="", error="its process is gone")
    if status.state == State.QUEUED and not launcher_alive(root, status.launcher):
        return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, launcher="")
    return status


def _seen_with_job(before: RunStatus, status: RunStatus, job: Job, holder: HoldingJob) -> RunStatus:
    """A run's status beside the job that holds it; before was read before the job was looked at."""
    if status != before or status.state not in _UNSETTLED:
        return status  # the run itself has just told
    if job.waits:
        return replace(status, state=State.PREEMPTED if status.attempts else State.QUEUED)
    if not job.over:
        # An interrupted run whose job is still being ended may be about to run again.
        ending = status.state == State.INTERRUPTED
        return replace(status, state=State.PREEMPTED) if ending else status
    cause = cause_of_death(status, job)
    if cause and job.state not in _TAKEN_AWAY:
        last = last_line(holder.complaints)
        return replace(status, state=State.FAILED, error=f"{cause}: {last}" if last else cause)
    gone = f"its job is over (Slurm: {job.state})" if job.state else "its job is gone"
    why = status.error or cause or gone
    return replace(status, state=State.INTERRUPTED if status.attempts else State.PREPARED, error=why)


def cause_of_death(status: RunStatus, job: Job) -> str:
    """How a job ended that nobody asked to end, and whose run could not say so; "" for any other.

    Args:
        status: of a run that is not finished and has not failed.
        job: one that is over.
    """
    died = job.state in _DIED or (job.state == "COMPLETED" and status.state == State.RUNNING)
    return f"its job ended without a word (Slurm: {job.state})" if died else ""


def settle(run_dir: Path, seen: RunStatus) -> bool:
    """Write down how a run ended that could not say so itself, for Slurm forgets its jobs; True if so."""
    if seen.state not in (State.FAILED, State.INTERRUPTED) or seen == read_status(run_dir):
        return False
    write_status(run_dir, replace(seen, ended=seen.ended or time.time(), launcher=""))
    return True
