"""Runs as Slurm jobs: one array (split where the cluster demands it), and what becomes of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webshop_rl.config.groups import HardwareConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.launchers import StopRequests, ask_to_cancel
from webshop_rl.launching.local import LOOK_SHARE
from webshop_rl.launching.reconcile import crash_cause, observe, record_crash, settle
from webshop_rl.launching.slurm.commands import JobsWatch, cancel, max_array_size, release, requeue
from webshop_rl.launching.slurm.job import SlurmRun, SlurmStage1
from webshop_rl.launching.slurm.jobs import job_id_of, minutes, note_job, submitted_job
from webshop_rl.launching.slurm.submit import command, sbatch_parameters, submit, waiting_for, withdraw
from webshop_rl.launching.sweep import Sweep
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import GOING, RunStatus, State, read_status

_RELEASE_EVERY_S = 20.0
# The status of a run that was executing when its job was killed: still that, or that it had to stop.
_EXECUTING = (State.RUNNING, State.PREEMPTED, State.INTERRUPTED)


@dataclass(frozen=True)
class Submission:
    """One array of a submission.

    Attributes:
        jobs: of each job its runs, several if they are packed.
        parallelism: jobs at once.
        after: index of the array that must end before; None for none.
    """

    jobs: tuple[tuple[RunFolder, ...], ...]
    parallelism: int
    after: int | None = None


def split(
    runs: Sequence[RunFolder], hardware: HardwareConfig, *, pack: int, largest: int
) -> list[Submission]:
    """Arrays for these runs: as few as the cluster allows, sharing the limit of jobs at once."""
    jobs = [tuple(runs[k : k + pack]) for k in range(0, len(runs), pack)]
    arrays = [tuple(jobs[k : k + largest]) for k in range(0, len(jobs), largest)]
    limit = hardware.slurm.array_parallelism
    if limit is None:
        return [Submission(array, len(array)) for array in arrays]
    each = max(1, limit // len(arrays))
    return [Submission(array, each, k - limit if k >= limit else None) for k, array in enumerate(arrays)]


class SlurmQueue:
    """Runs that were submitted, and their jobs.

    Args:
        sweep: what they belong to.
        runs: those to submit; their folders are prepared.
        others: runs that an earlier launch submitted; waited for, too.
        code: the frozen code.
        launcher: name of this launcher, in whose queue the runs wait until they are submitted.
        watch: Slurm's view of the jobs.
        stop: requests of the user to end.
        sampled: runs whose reference returns a job of its own samples first; the arrays wait for it.
    """

    def __init__(
        self,
        sweep: Sweep,
        runs: Sequence[RunFolder],
        others: Sequence[RunFolder],
        *,
        code: Path,
        launcher: str,
        watch: JobsWatch,
        stop: StopRequests,
        sampled: Sequence[RunFolder] = (),
    ) -> None:
        self._sweep = sweep
        self._runs = [*runs, *others]
        # One a submission, for job ids may come again on another day.
        self._folder = sweep.root.sweep(sweep.name).jobs(launcher)
        self._watch = watch
        self._stop = stop
        self._left_alone = False
        self._cancelling = False
        self._to_cancel = False
        self._next_release = 0.0
        self._next_look = 0.0
        self._own: dict[RunFolder, str] = {}
        self._stage1 = ""
        if runs:
            hardware = sweep.config.hardware
            pack = sweep.config.sweep.pack
            parameters = sbatch_parameters(
                hardware, name=sweep.name, code=code, folder=self._folder, pack=pack
            )
            for run in runs:
                (read_status(run) or RunStatus()).queue(launcher).write(run)
            if sampled:
                self._stage1 = self._submit_stage1(sampled, parameters)
                parameters = waiting_for(parameters, self._stage1.partition("_")[0])
            arrays: list[str] = []
            for part in split(runs, hardware, pack=pack, largest=max_array_size()):
                before = None if part.after is None else arrays[part.after]
                arrays.append(self._submit(part, waiting_for(parameters, before)))

    def _submit(self, part: Submission, parameters: dict[str, Any]) -> str:
        """Submit one array; its id."""
        hardware = self._sweep.config.hardware
        limit = minutes(hardware.slurm.time)
        tasks = [SlurmRun(packed, hardware.restarts, limit) for packed in part.jobs]
        noted = {*self._own.values(), *([self._stage1] if self._stage1 else [])}
        try:
            job_ids = submit(
                tasks,
                folder=self._folder,
                python=command(hardware),
                parameters={**parameters, "array_parallelism": part.parallelism},
                noted=noted,
                stop=self._stop,
            )
        except UserError:
            cancel(noted)  # refused is refused: no part of the sweep is left in the queue
            raise
        for packed, job_id in zip(part.jobs, job_ids, strict=True):
            for run in packed:
                note_job(run, job_id, self._folder)
                self._own[run] = job_id
        return job_ids[0].partition("_")[0]

    def _submit_stage1(self, runs: Sequence[RunFolder], parameters: dict[str, Any]) -> str:
        """Submit the job that samples reference returns; its id."""
        log = self._sweep.root.sweep(self._sweep.name).stage1_log
        return submit(
            [SlurmStage1(tuple(runs), log)],
            folder=self._folder,
            python=command(self._sweep.config.hardware),
            parameters={**parameters, "nodes": 1, "ntasks_per_node": 1, "array_parallelism": 1},
            noted=(),
            stop=self._stop,
        )[0]

    @property
    def done(self) -> bool:
        """Whether Slurm has none of the runs any more, or the user left them to it."""
        return self._left_alone or not self._runs

    @property
    def note(self) -> str:
        """What keeps the queue from going on, in one line; "" for nothing."""
        return f"waiting for Slurm's controller: {self._watch.problem}" if self._watch.problem else ""

    def tick(self) -> None:
        """Start crashed runs again, write down how runs ended whose jobs are over, and forget those."""
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
        for job_id in {job_id_of(run) for run in self._runs}:
            job = jobs.get(job_id)
            if job is not None and job.held:
                release(job_id)

    def _over(self, run: RunFolder) -> bool:
        status = observe(run, self._watch.latest())
        if status is None or status.state in GOING:
            return False
        if not self._cancelling and self._starts_again(run):
            return False
        settle(run, status)
        return True

    def _starts_again(self, folder: RunFolder) -> bool:
        """Requeue a job that was killed as a whole while its run was executing.

        Where only the run was killed, the job's script has done so itself.
        """
        submitted, status = submitted_job(folder), read_status(folder)
        if submitted is None or status is None or status.state not in _EXECUTING:
            return False
        job = self._watch.latest().get(submitted.job_id, submitted=submitted.submitted)
        cause = crash_cause(status, job) if job else ""
        if not cause:
            return False
        after = record_crash(folder, status, cause, restarts=self._sweep.config.hardware.restarts)
        if after.state == State.QUEUED and requeue(submitted.job_id):
            note_job(folder, submitted.job_id, Path(submitted.folder))
            return True
        after.give_up().write(folder)
        return False

    def stop(self) -> None:
        """As the user decides: cancel the jobs, which then save themselves, or leave them to Slurm."""
        if ask_to_cancel(self._sweep.config.sweep.on_interrupt, self._stop):
            self._cancelling = self._to_cancel = True
        else:
            self._left_alone = True

    def _cancel(self) -> None:
        """Cancel the jobs of this launch; if the controller is away, again later."""
        with contextlib.suppress(UserError):
            cancel(self._own[run] for run in self._runs if run in self._own)
            withdraw([self._folder], self._own.values())  # the one that samples reference returns
            self._to_cancel = False

    def kill(self) -> None:
        """Wait no longer."""
        self._left_alone = True
