"""Runs as Slurm jobs: one array (split where the cluster demands it), and how they go from here."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor

from webshop_rl.config.groups import HardwareConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.cluster.commands import cancel, max_array_size, release, requeue
from webshop_rl.launching.cluster.time_limit import minutes
from webshop_rl.launching.cluster.watch import JobsWatch
from webshop_rl.launching.queue import LOOK_SHARE
from webshop_rl.launching.runs.deaths import after_death
from webshop_rl.launching.runs.observe import cause_of_death, observe, settle
from webshop_rl.launching.runs.plan import Planned
from webshop_rl.launching.runs.prepare import mark_queued
from webshop_rl.launching.runs.state import (
    GOING,
    RunStatus,
    State,
    held_by_job,
    hold_by_job,
    holding_job,
    read_status,
    write_status,
)
from webshop_rl.launching.slurm.run import SlurmRun
from webshop_rl.launching.slurm.script import command, sbatch_parameters, waiting_for
from webshop_rl.launching.slurm.submit import submit
from webshop_rl.launching.stop import StopRequests

_RELEASE_EVERY_S = 20.0
# What a run that was at work says of itself when its job is killed: nothing new, or that it had to stop.
_AT_WORK = (State.RUNNING, State.PREEMPTED, State.INTERRUPTED)


@dataclass(frozen=True)
class Submission:
    """One array of a submission.

    Attributes:
        groups: its runs, those together that share a job.
        parallelism: jobs of it at once.
        after: index of the array that must end before; None for none.
    """

    groups: tuple[tuple[Planned, ...], ...]
    parallelism: int
    after: int | None = None


def split(runs: Sequence[Planned], hardware: HardwareConfig, *, pack: int, largest: int) -> list[Submission]:
    """Arrays for these runs: as few as the cluster allows, sharing the limit of jobs at once."""
    groups = [tuple(runs[k : k + pack]) for k in range(0, len(runs), pack)]
    arrays = [tuple(groups[k : k + largest]) for k in range(0, len(groups), largest)]
    limit = hardware.slurm.array_parallelism
    if limit is None:
        return [Submission(array, len(array)) for array in arrays]
    each = max(1, limit // len(arrays))
    return [Submission(array, each, k - limit if k >= limit else None) for k, array in enumerate(arrays)]


class SlurmQueue:
    """Runs that were submitted, and what is known of them.

    Args:
        runs: those to submit; their folders are prepared.
        root: folder of the runs.
        hardware: what a job asks for.
        folder: where submitit keeps its files; one of its own for each submission, for job ids may
            come again on another day.
        code: the frozen code.
        name: of the jobs.
        launcher: id of this launcher, which holds the runs until Slurm has them.
        entry: `module:function` that executes a run.
        pack: runs that share a job.
        watch: Slurm's view of the jobs.
        others: runs that jobs of an earlier launch hold; waited for, too.
        on_interrupt: asked when the user interrupts; True to cancel the jobs of this launch.
        stop: requests of the user to end.
    """

    def __init__(
        self,
        runs: Sequence[Planned],
        *,
        root: Path,
        hardware: HardwareConfig,
        folder: Path,
        code: Path,
        name: str,
        launcher: str,
        entry: str,
        pack: int,
        watch: JobsWatch,
        others: Sequence[Planned],
        on_interrupt: Callable[[], bool],
        stop: StopRequests,
    ) -> None:
        self._runs, self._root, self._on_interrupt = [*runs, *others], root, on_interrupt
        self._watch, self._stop, self._restarts = watch, stop, hardware.restarts
        self._left_alone = self._cancelling = self._to_cancel = False
        self._next_release = self._next_look = 0.0
        self._own: dict[Path, str] = {}
        if runs:
            parameters = sbatch_parameters(hardware, name=name, code=code, folder=folder, pack=pack)
            for run in runs:
                mark_queued(run.folder, run.status or RunStatus(), launcher=launcher)
            arrays: list[str] = []
            for part in split(runs, hardware, pack=pack, largest=max_array_size()):
                before = None if part.after is None else arrays[part.after]
                told = waiting_for(parameters, before)
                arrays.append(self._submit(part, told, hardware, folder, entry))

    def _submit(
        self, part: Submission, parameters: dict[str, Any], hardware: HardwareConfig, folder: Path, entry: str
    ) -> str:
        """Submit one array; its id."""
        executor = SlurmExecutor(folder, python=command(hardware))
        executor.update_parameters(**parameters, array_parallelism=part.parallelism)
        limit = minutes(hardware.slurm.time)
        tasks = [SlurmRun(tuple(r.folder for r in g), entry, hardware.restarts, limit) for g in part.groups]
        noted = set(self._own.values())
        try:
            job_ids = submit(executor, tasks, folder=folder, noted=noted, stop=self._stop)
        except UserError:
            cancel(noted)  # refused is refused: no part of the sweep is left in the queue
            raise
        for group, job_id in zip(part.groups, job_ids, strict=True):
            for run in group:
                hold_by_job(run.folder, job_id, folder)
                self._own[run.folder] = job_id
        return job_ids[0].partition("_")[0]

    @property
    def done(self) -> bool:
        """Whether Slurm holds none of the runs any more, or the user left them to it."""
        return self._left_alone or not self._runs

    @property
    def note(self) -> str:
        """What keeps the queue from going on, in one line; "" for nothing."""
        return f"waiting for Slurm's controller: {self._watch.problem}" if self._watch.problem else ""

    def tick(self) -> None:
        """Start again or settle runs whose jobs ended without a word, and forget those that are over."""
        if not self.done and self._watch.latest().reachable and not self._watch.problem:
            if self._to_cancel:
                self._cancel()
            self._release()
            if (began := time.monotonic()) >= self._next_look:
                self._runs = [run for run in self._runs if not self._over(run)]
                self._next_look = time.monotonic() + LOOK_SHARE * (time.monotonic() - began)

    def _release(self) -> None:
        """Let jobs go on that Slurm holds back because a node failed to start them."""
        if time.monotonic() < self._next_release:
            return
        self._next_release = time.monotonic() + _RELEASE_EVERY_S
        jobs = self._watch.latest()
        for job_id in {held_by_job(run.folder) for run in self._runs}:
            job = jobs.get(job_id)
            if job is not None and job.held:
                release(job_id)

    def _over(self, run: Planned) -> bool:
        status = observe(self._root, run.folder, self._watch.latest())
        if status is None or status.state in GOING:
            return False
        if not self._cancelling and self._starts_again(run.folder):
            return False
        settle(run.folder, status)
        return True

    def _starts_again(self, folder: Path) -> bool:
        """Requeue a job that was killed as a whole while its run was at work.

        Where only the run was killed, the job's script has done so itself.
        """
        holder, status = holding_job(folder), read_status(folder)
        if holder is None or status is None or status.state not in _AT_WORK:
            return False
        job = self._watch.latest().get(holder.job_id, submitted=holder.submitted)
        cause = cause_of_death(status, job) if job else ""
        if not cause:
            return False
        after = after_death(folder, status, cause, restarts=self._restarts)
        if after.state == State.QUEUED and requeue(holder.job_id):
            hold_by_job(folder, holder.job_id, Path(holder.folder))
            return True
        write_status(folder, replace(after, state=State.FAILED, error=after.error.partition(";")[0]))
        return False

    def stop(self) -> None:
        """As the user wishes: cancel the jobs, which then save themselves, or leave them to Slurm."""
        if self._on_interrupt():
            self._cancelling = self._to_cancel = True
        else:
            self._left_alone = True

    def _cancel(self) -> None:
        """Cancel the jobs of this launch; if the controller is away, again later."""
        with contextlib.suppress(UserError):
            cancel(self._own[run.folder] for run in self._runs if run.folder in self._own)
            self._to_cancel = False

    def kill(self) -> None:
        """Wait no longer."""
        self._left_alone = True
