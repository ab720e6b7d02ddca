"""Stage 1 of a sweep as a task of its own: the reference returns of its runs, before the runs begin.

    python -m webshop_rl.launching.stage1 '{"runs": [FOLDER, ...], "launcher_pid": PID}'

is a process of a local launcher; a Slurm job calls `sample_for`. What it leaves undone, because it was
stopped or failed, the runs sample themselves. Imports no torch until it samples.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from webshop_rl.launching.worker import Interrupted, end_with_parent
from webshop_rl.preemption import Preempted, StopRequest
from webshop_rl.storage.files import read_json
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import GOING, read_status

_LOOK_S = 10.0


class NoRunWaits(Preempted):
    """All runs that would look the samples up were cancelled, or have ended."""


class _WhileWanted(StopRequest):
    """A request to stop, by a signal or because no run waits any more."""

    def __init__(self, runs: Sequence[RunFolder]) -> None:
        super().__init__()
        self._runs = runs
        self._next_look = 0.0

    def check(self) -> None:
        """Raises: Preempted if a signal has come, NoRunWaits if no run is going."""
        super().check()
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + _LOOK_S
            statuses = [read_status(run) for run in self._runs]
            if not any(status is not None and status.state in GOING for status in statuses):
                raise NoRunWaits("no run waits for reference returns any more")


def sample_for(runs: Sequence[RunFolder]) -> int:
    """Sample what these runs will look up in the store and nobody has sampled; how many episodes were played.

    Raises: Preempted if a signal asked to stop, NoRunWaits if no run is going any more.
    """
    from webshop_rl.experiment import sample_reference  # loads torch

    alike: dict[str, list[Path]] = {}  # runs whose reference episodes are the same
    for run in runs:
        identity = read_json(run.signature) or {}
        alike.setdefault(str(identity.get("acting", run.name)), []).append(run.path)
    with _WhileWanted(runs) as stop:
        return sum(sample_reference(folders, stop) for folders in alike.values())


def main(runs: Sequence[RunFolder], launcher_pid: int) -> int:
    """Sample, and nothing once the launcher is gone; the process's exit code."""
    try:
        end_with_parent(launcher_pid)
        print(f"reference episodes played: {sample_for(runs)}", flush=True)
    except (Interrupted, Preempted) as stop:
        print(stop, flush=True)
    return 0


if __name__ == "__main__":
    job = json.loads(sys.argv[1])
    raise SystemExit(main([RunFolder(Path(run)) for run in job["runs"]], job["launcher_pid"]))
