"""What becomes of a run whose process died without a word: killed, out of memory, crashed."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path

from webshop_rl.launching.runs.progress import read_progress
from webshop_rl.launching.runs.state import RunStatus, State, write_status


def killed_by(signum: int) -> str:
    """A death by a signal, in a few words."""
    name = signal.Signals(signum).name
    return f"killed by {name}" + (" (out of memory?)" if signum == signal.SIGKILL else "")


def after_death(run_dir: Path, status: RunStatus, cause: str, *, restarts: int) -> RunStatus:
    """Write and return the status of a run that died: queued again, or failed once it dies for ever.

    A death after which more is recorded than before the attempt does not count as a repetition, so a
    run that is killed now and then finishes, and one that always dies in the same place does not go on.

    Args:
        run_dir: the run's folder.
        status: what it said while the process lived.
        cause: in a few words.
        restarts: how many deaths in a row without progress are followed by another attempt.
    """
    got_further = read_progress(run_dir).update > status.progress
    deaths = 1 if got_further else status.deaths + 1
    common = replace(status, deaths=deaths, launcher="", ended=time.time())
    if deaths <= restarts:
        return write_status(run_dir, replace(common, state=State.QUEUED, error=f"{cause}; starts again"))
    times = f", {deaths} attempts in a row" if deaths > 1 else ""
    return write_status(run_dir, replace(common, state=State.FAILED, deaths=0, error=f"{cause}{times}"))
