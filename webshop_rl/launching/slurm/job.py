"""What a Slurm job does: its run (or several that share a GPU), saved and requeued when asked to stop.

submitit starts it, on each task of the job. Signals that ask to stop: SIGUSR2 before the time limit and
(where the cluster sends it) before a preemption, SIGTERM with a preemption, a requeue or a cancellation.
A run that saved itself ends with an exit code that asks the job's script for a requeue, unless Slurm calls
the job anything but RUNNING: a cancelled one must stay cancelled, one that Slurm requeues needs no help.

    python -m webshop_rl.launching.slurm.job SUBMITIT_FOLDER EXIT_CODE_OF_SRUN

is what the job's script calls after a run crashed: its exit code says whether it is started again
(`REQUEUE`), and is the job's else, so that Slurm calls the job what the run is.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from webshop_rl.launching.local import LocalQueue, Slot
from webshop_rl.launching.log import logged
from webshop_rl.launching.progress import last_line, read_progress
from webshop_rl.launching.reconcile import killed_by, record_crash
from webshop_rl.launching.slurm import submitit_adapter
from webshop_rl.launching.slurm.commands import job_state
from webshop_rl.launching.slurm.jobs import job_id_of, note_job
from webshop_rl.launching.stage1 import NoRunWaits, sample_for
from webshop_rl.launching.worker import Interrupted, LeftAlone, RunFailed, execute, follow, rank_error
from webshop_rl.preemption import Preempted
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import GOING, State, read_status
from webshop_rl.tracking.journal import close_journal

# The former attempt's process may not have ended yet, on a node that Slurm has given up.
_PATIENCE_S = 3600.0
_TICK_S = 0.2
# Exit code of a run that saved itself and is to be started again; EX_TEMPFAIL of sysexits.h.
REQUEUE = 75
# Exit code of a process that a signal ended, less the signal's number.
_SIGNALLED = 128
_ENDED = (State.FINISHED, State.FAILED)


@dataclass(frozen=True)
class SlurmRun:
    """The callable of a job.

    Attributes:
        folders: of the runs: one, or several that are packed.
        restarts: how often in a row a run that was killed starts again without having got further.
        limit_min: time limit of the job, minutes.
    """

    folders: tuple[RunFolder, ...]
    restarts: int
    limit_min: int

    def __call__(self) -> str:
        rank = submitit_adapter.rank()
        if rank == 0:
            self._note_job()
        if len(self.folders) > 1:
            return self._packed()
        submitit_adapter.export_ranks()
        run = self.folders[0]
        try:
            if rank > 0:
                follow(run, rank)
            else:
                self._lead(run)
        except (Interrupted, LeftAlone) as stop:
            status = read_status(run)
            if rank == 0 and status is not None and status.state == State.PREEMPTED:
                raise SystemExit(REQUEUE) from stop
            return str(stop)
        return "finished"

    def _note_job(self) -> None:
        """As the launcher does once it has the ids; it may be killed before."""
        for run in self.folders:
            if not job_id_of(run):
                note_job(run, submitit_adapter.job_id(), submitit_adapter.folder())

    def _lead(self, run: RunFolder) -> None:
        log_to(run.log)
        submitit_adapter.silence()
        began = time.monotonic()
        before = read_progress(run).update
        with logged(run, screen=False):
            execute(
                run,
                patience_s=_PATIENCE_S,
                requeue=lambda: self._may_go_on(began, before) and not is_being_ended(),
            )

    def _may_go_on(self, began: float, before: int) -> bool:
        """False if most of the time limit has brought the run nowhere: the next would not either."""
        spent_min = (time.monotonic() - began) / 60
        return spent_min < self.limit_min / 2 or read_progress(self.folders[0]).update > before

    def _packed(self) -> str:
        """The runs side by side, each a process with its share of the cores and all of the GPU."""
        going = [r for r in self.folders if (status := read_status(r)) is None or status.state not in _ENDED]
        threads = max(1, int(os.environ.get("SLURM_CPUS_PER_TASK", "1")) // len(self.folders))
        slot = Slot(threads, os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        queue = LocalQueue(
            going,
            [slot] * len(going),
            code=Path.cwd(),
            launcher="",
            restarts=self.restarts,
        )
        stopped = _work_until_done(queue)
        states = [status.state for f in self.folders if (status := read_status(f))]
        if stopped and any(state not in _ENDED for state in states) and not is_being_ended():
            raise SystemExit(REQUEUE)
        failed = sum(state == State.FAILED for state in states)
        if failed:
            raise RunFailed(f"{failed} of {len(self.folders)} packed runs failed")
        return "finished"


@dataclass(frozen=True)
class SlurmStage1:
    """The callable of the job that samples the reference returns of a sweep's runs, which wait for it.

    Attributes:
        runs: that will look them up.
        log: where its output goes.
        folders, restarts: as of SlurmRun; it executes no run.
    """

    runs: tuple[RunFolder, ...]
    log: Path
    folders: tuple[RunFolder, ...] = ()
    restarts: int = 0

    def __call__(self) -> str:
        log_to(self.log)
        submitit_adapter.silence()
        try:
            return f"reference episodes played: {sample_for(self.runs)}"
        except NoRunWaits as end:
            return str(end)
        except Preempted as stop:
            if not is_being_ended():
                raise SystemExit(REQUEUE) from stop
            return str(stop)


def _work_until_done(queue: LocalQueue) -> bool:
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
    return job_state(submitit_adapter.job_id()) not in ("RUNNING", "")


def log_to(path: Path) -> None:
    """Append all output of this process to a file, that of libraries in C included."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def main(arguments: Sequence[str]) -> int:
    """Write down how the runs of this job ended; REQUEUE if one is to go on, else 1 if one of them failed."""
    folder, code = Path(arguments[0]), int(arguments[1])
    task: SlurmRun = submitit_adapter.submitted_task(folder)
    again, failed = False, False
    for run in task.folders:
        status = read_status(run)
        # One that is preempted has saved itself; what ended the job came after.
        if status is not None and status.state in GOING and status.state != State.PREEMPTED:
            reported = rank_error(run)
            killed = code > _SIGNALLED and not reported
            cause = reported or _cause(code, folder)
            status = record_crash(run, status, cause, restarts=task.restarts if killed else 0)
            close_journal(run, status.state, status.error)
        again = again or (status is not None and status.state in (State.QUEUED, State.PREEMPTED))
        failed = failed or (status is not None and status.state == State.FAILED)
    return REQUEUE if again else int(failed)


def _cause(code: int, folder: Path) -> str:
    if code > _SIGNALLED:
        return killed_by(code - _SIGNALLED)
    stderr = submitit_adapter.stderr_file(folder, submitit_adapter.job_id())
    return f"exit code {code}: {last_line(stderr)}"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
