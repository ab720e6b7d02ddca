"""What becomes of a run, by the table of docs/sweeps.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.paths import DOCS
from webshop_rl.launching.reconcile import Evidence, crash_cause, reconcile
from webshop_rl.launching.slurm.jobs import Job
from webshop_rl.storage.run_status import MAX_STALLS, RunStatus, State

PAGE = (DOCS / "sweeps.md").read_text()
AT_WORK = RunStatus(State.RUNNING, attempts=1, progress=3)
STOPPED = AT_WORK.stop(update=4)
PREEMPTED = AT_WORK.preempt(update=4)
FAILED = AT_WORK.fail("ValueError: no")
KILLED = "kill -9` of the job's script, a time limit without the warning"


@pytest.mark.parametrize(
    ("row", "status", "seen", "state"),
    [
        # It saved itself and its job waits, runs again, or is not over yet.
        ("preemption, time limit, `scancel --signal=USR2`", PREEMPTED, Job("PENDING"), State.PREEMPTED),
        ("preemption, time limit, `scancel --signal=USR2`", PREEMPTED, Job("COMPLETING"), State.PREEMPTED),
        # It could not report anything: its status says what it was.
        ("`scontrol requeue`, a node's failure, preemption", AT_WORK, Job("PENDING"), State.PREEMPTED),
        ("`scontrol requeue`, a node's failure, preemption", AT_WORK, Job("RUNNING"), State.RUNNING),
        ("`scontrol requeue`, a node's failure, preemption", STOPPED, Job("REQUEUED"), State.PREEMPTED),
        (KILLED, AT_WORK, Job("FAILED"), State.FAILED),
        (KILLED, AT_WORK, Job("OUT_OF_MEMORY"), State.FAILED),
        (KILLED, AT_WORK, Job("TIMEOUT"), State.INTERRUPTED),
        ("an exception, `sys.exit`, `os._exit`", FAILED, Job("FAILED"), State.FAILED),
        ("an exception, `sys.exit`, `os._exit`", AT_WORK, Job("COMPLETED"), State.FAILED),
        ("`scancel`, `status cancel`", STOPPED, Job("CANCELLED"), State.INTERRUPTED),
        ("`scancel`, `status cancel`", RunStatus(State.QUEUED), Job("CANCELLED"), State.PREPARED),
    ],
)
def test_the_table_of_the_docs(row: str, status: RunStatus, seen: Job, state: State) -> None:
    assert row in PAGE
    assert reconcile(status, Evidence(job=seen)).state == state


def test_a_crash_starts_again_as_often_as_the_table_says() -> None:
    assert "up to `hardware.restarts` times in a row without getting further; then the run has failed" in PAGE
    first = AT_WORK.crash("killed by SIGKILL", update=3, restarts=1)
    assert (first.state, first.crashes, first.error) == (State.QUEUED, 1, "killed by SIGKILL; starts again")
    again = replace(first, progress=3)
    second = again.crash("killed by SIGKILL", update=3, restarts=1)
    assert (second.state, second.error) == (State.FAILED, "killed by SIGKILL, 2 attempts in a row")
    further = again.crash("killed by SIGKILL", update=4, restarts=1)
    assert (further.state, further.crashes) == (State.QUEUED, 1)


def test_stops_that_lead_nowhere_end_a_run() -> None:
    status = AT_WORK
    for _ in range(MAX_STALLS):
        status = replace(status.preempt(update=3), state=State.RUNNING)
    assert status.preempt(update=4).state == State.PREEMPTED
    ended = status.preempt(update=3)
    assert (ended.state, ended.error) == (
        State.FAILED,
        f"stopped {MAX_STALLS + 1} times in a row before it got further",
    )


@pytest.mark.parametrize(
    ("status", "seen", "state"),
    [
        (AT_WORK, Evidence(process=True), State.RUNNING),
        (AT_WORK, Evidence(), State.INTERRUPTED),
        (AT_WORK, Evidence(launcher=True), State.QUEUED),  # between two attempts
        (RunStatus(State.QUEUED), Evidence(launcher=True), State.QUEUED),
        (RunStatus(State.QUEUED), Evidence(), State.PREPARED),
        (RunStatus(State.QUEUED, attempts=1), Evidence(), State.INTERRUPTED),
        (STOPPED, Evidence(), State.INTERRUPTED),
        (AT_WORK.finish(), Evidence(job=Job("FAILED")), State.FINISHED),
    ],
)
def test_nothing_runs_without_a_process_or_waits_without_a_launcher(
    status: RunStatus, seen: Evidence, state: State
) -> None:
    assert reconcile(status, seen).state == state


def test_what_a_job_printed_last_stands_in_the_error() -> None:
    seen = Evidence(job=Job("FAILED"), job_error="srun: error: no such node")
    assert reconcile(AT_WORK, seen).error == f"{crash_cause(AT_WORK, Job('FAILED'))}: {seen.job_error}"
