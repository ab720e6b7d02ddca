"""The last word in the journal of a run that died before it could say it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from webshop_rl.launching.runs.state import State
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import Busy
from webshop_rl.tracking.journal import Journal
from webshop_rl.tracking.rows import scan

# How MLflow calls the states of runs that are over.
RUN_STATUS = {State.FINISHED: "FINISHED", State.FAILED: "FAILED", State.INTERRUPTED: "KILLED"}


def close_journal(run_dir: Path, state: State, error: str) -> None:
    """Record in its journal the end of a run that died before it could.

    Does nothing for a run whose journal says so already, or that another process is at work on.
    """
    if state not in RUN_STATUS or journalled_end(run_dir)[0] != "RUNNING":
        return
    try:
        with RunFolder(run_dir).record_lock.acquire():
            journal = Journal(run_dir)
            if error:
                journal.tags({"error": error})
            journal.state(RUN_STATUS[state], error)
            journal.close()
    except Busy:
        return


def add_tags(run_dir: Path, tags: Mapping[str, str]) -> None:
    """Add tags to the journal of a run that has one and that no process is at work on."""
    if not RunFolder(run_dir).journal.exists():
        return
    try:
        with RunFolder(run_dir).record_lock.acquire():
            journal = Journal(run_dir)
            journal.tags(tags)
            journal.close()
    except Busy:
        return


def journalled_end(run_dir: Path) -> tuple[str, int]:
    """The last state in a run's journal and since when, milliseconds since 1970; ("", 0) without one."""
    state, since = "", 0
    if RunFolder(run_dir).journal.exists():
        for _, row in scan(RunFolder(run_dir).journal):
            if row["kind"] == "state":
                state, since = row["status"], row["ts_ms"]
    return state, since
