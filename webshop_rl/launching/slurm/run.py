"""What a Slurm job does: its run (or several that share a GPU), saved and requeued when asked to stop.

submitit starts it, on each task of the job. Signals that ask to stop: SIGUSR2 before the time limit and
(where the cluster sends it) before a preemption, SIGTERM with a preemption, a requeue or a cancellation.
A run that saved itself ends with an exit code that asks the job's script for a requeue, unless Slurm calls
the job anything but RUNNING: a cancelled one must stay cancelled, one that Slurm requeues needs no help.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from submitit.core.job_environment import JobEnvironment
from submitit.core.logger import get_logger
from submitit.helpers import TorchDistributedEnvironment

from webshop_rl.launching.cluster.commands import job_state
from webshop_rl.launching.local.queue import LocalQueue
from webshop_rl.launching.local.slots import Slot
from webshop_rl.launching.runs.log import logged
from webshop_rl.launching.runs.plan import Action, Planned
from webshop_rl.launching.runs.progress import read_progress
from webshop_rl.launching.runs.state import State, held_by_job, hold_by_job, read_status
from webshop_rl.launching.runs.worker import Interrupted, LeftAlone, RunFailed, execute, follow
from webshop_rl.storage.folders import RunFolder

# The former attempt's process may still be dying, on a node that Slurm has given up.
_PATIENCE_S = 3600.0
_TICK_S = 0.2
# Exit code of a run that saved itself and is to be started again; EX_TEMPFAIL of sysexits.h.
REQUEUE = 75


@dataclass(frozen=True)
class SlurmRun:
    """The callable of a job.

    Attributes:
        folders: of the runs: one, or several that are packed.
        entry: `module:function` that executes a run.
        restarts: how often in a row a run that was killed starts again without having got further.
        limit_min: time limit of the job, minutes.
    """

    folders: tuple[Path, ...]
    entry: str
    restarts: int
    limit_min: int

    def __call__(self) -> str:
        job = JobEnvironment()
        if job.global_rank == 0:
            self._note_job(job.job_id)
        if len(self.folders) > 1:
            return self._packed()
        if job.num_tasks > 1:
            TorchDistributedEnvironment().export()
        try:
            if job.global_rank > 0:
                follow(self.folders[0], job.global_rank, entry=self.entry)
            else:
                self._lead()
        except (Interrupted, LeftAlone) as stop:
            status = read_status(self.folders[0])
            if job.global_rank == 0 and status is not None and status.state == State.PREEMPTED:
                raise SystemExit(REQUEUE) from stop
            return str(stop)
        return "finished"

    def _note_job(self, job_id: str) -> None:
        """As the launcher does once it has the ids; it may die before."""
        for folder in self.folders:
            if not held_by_job(folder):
                hold_by_job(folder, job_id, Path(os.environ["SUBMITIT_FOLDER"]))

    def _lead(self) -> None:
        log_to(RunFolder(self.folders[0]).log)
        # submitit's lines would end the log, and call a run that was stopped a success.
        get_logger().setLevel(logging.CRITICAL)
        began, before = time.monotonic(), read_progress(self.folders[0]).update
        with logged(self.folders[0], screen=False):
            execute(
                self.folders[0],
                entry=self.entry,
                patience_s=_PATIENCE_S,
                requeue=lambda: self._may_go_on(began, before) and not is_being_ended(),
            )

    def _may_go_on(self, began: float, before: int) -> bool:
        """False if most of the time limit has brought the run nowhere: the next would not either."""
        spent_min = (time.monotonic() - began) / 60
        return spent_min < self.limit_min / 2 or read_progress(self.folders[0]).update > before

    def _packed(self) -> str:
        """The runs side by side, each a process with its share of the cores and all of the GPU."""
        going = [f for f in self.folders if (status := read_status(f)) is None or status.state not in _ENDED]
        threads = max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", "1")) // len(self.folders))
        slot = Slot(threads, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        queue = LocalQueue(
            [Planned(folder.name, folder, Action.RESUME, read_status(folder)) for folder in going],
            [slot] * len(going),
            folder=Path(os.environ["SUBMITIT_FOLDER"]) / "packed",
            code=Path.cwd(),
            launcher="",
            restarts=self.restarts,
            entry=self.entry,
        )
        stopped = _work_off(queue)
        states = [status.state for f in self.folders if (status := read_status(f))]
        if stopped and any(state not in _ENDED for state in states) and not is_being_ended():
            raise SystemExit(REQUEUE)
        failed = sum(state == State.FAILED for state in states)
        if failed:
            raise RunFailed(f"{failed} of {len(self.folders)} packed runs failed")
        return "finished"


_ENDED = (State.FINISHED, State.FAILED)


def _work_off(queue: LocalQueue) -> bool:
    """Work a queue to its end; True if a signal asked it to stop."""
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        asked.append(signum)

    for signum in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(signum, note)
    stopping = False
    while not queue.done:
        if asked and not stopping:
            stopping = True
            queue.stop()
        queue.tick()
        time.sleep(_TICK_S)
    return stopping


def is_being_ended() -> bool:
    """Whether Slurm has taken this process's job away; not so if it does not say (in a container, e.g.)."""
    return job_state(JobEnvironment().job_id) not in ("RUNNING", "")


def log_to(path: Path) -> None:
    """Append all output of this process to a file, that of libraries in C included."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
