"""Runs as Slurm jobs: one array (split where the cluster demands it), and how they go from here."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit import SlurmExecutor

from webshop_rl.errors import UserError
from webshop_rl.launching.config import HardwareConfig
from webshop_rl.launching.plan import Planned
from webshop_rl.launching.prepare import mark_queued
from webshop_rl.launching.run_status import GOING, RunStatus, held_by_job, hold_by_job, observe, settle
from webshop_rl.launching.slots import thread_variables
from webshop_rl.launching.slurm_cluster import JobsWatch, cancel, max_array_size, minutes, release
from webshop_rl.launching.slurm_run import SlurmRun

_RELEASE_EVERY_S = 20.0


@dataclass(frozen=True)
class Submission:
    """One array of a submission: its runs, in groups of those that share a job."""

    groups: tuple[tuple[Planned, ...], ...]
    parallelism: int


def split(runs: Sequence[Planned], hardware: HardwareConfig, *, pack: int, largest: int) -> list[Submission]:
    """Arrays for these runs: as few as the cluster allows, sharing the limit of jobs at once."""
    groups = [tuple(runs[k : k + pack]) for k in range(0, len(runs), pack)]
    arrays = [tuple(groups[k : k + largest]) for k in range(0, len(groups), largest)]
    limit = hardware.array_parallelism
    return [Submission(a, len(a) if limit is None else max(1, limit // len(arrays))) for a in arrays]


def sbatch_parameters(
    hardware: HardwareConfig, *, name: str, code: Path, folder: Path, pack: int
) -> dict[str, Any]:
    """What submitit is told, from the hardware group.

    Args:
        hardware: the group.
        name: of the jobs.
        code: the frozen code; the job changes into it, so that it is imported, after a requeue too.
        folder: where submitit keeps its files.
        pack: runs in one job.
    Raises: UserError if the time limit is none, or several processes and several runs share a job.
    """
    tasks = hardware.nodes * hardware.tasks_per_node
    if pack > 1 and tasks > 1:
        raise UserError("packed runs have one process each", where="sweep.pack", remedy="sweep.pack=1")
    cpus = hardware.cpus or (hardware.threads or 1) * pack
    at_end = f"{command(hardware)} -m webshop_rl.launching.job_end {shlex.quote(str(folder))}"
    threads = hardware.threads or max(1, cpus // pack)
    chosen = {
        "partition": hardware.partition,
        "account": hardware.account,
        "qos": hardware.qos,
        "mem": hardware.mem,
        "gpus_per_node": hardware.gpus or None,
    }
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "job_name": name,
        "time": minutes(hardware.time),
        "nodes": hardware.nodes,
        "ntasks_per_node": hardware.tasks_per_node,
        "cpus_per_task": cpus,
        "signal_delay_s": hardware.signal_s,
        "stderr_to_stdout": False,
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cpus}"],
        "setup": [
            *hardware.setup,
            *(f"export {key}={value}" for key, value in thread_variables(threads).items()),
            "unset PYTHONSAFEPATH",
            f"cd {shlex.quote(str(code))} || exit 1",
        ],
        "teardown": ["code=$?", f"[ $code -eq 0 ] || exec {at_end} $code"],
        "additional_parameters": {"requeue": True, **hardware.sbatch},
    }


def command(hardware: HardwareConfig) -> str:
    """The python command of the jobs, in its container."""
    python = hardware.python or shlex.quote(sys.executable)
    return f"{hardware.container} {python}" if hardware.container else python


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
    ) -> None:
        self._runs, self._root, self._on_interrupt = [*runs, *others], root, on_interrupt
        self._watch = watch
        self._left_alone = False
        self._next_release = 0.0
        self._own: dict[Path, str] = {}
        if runs:
            parameters = sbatch_parameters(hardware, name=name, code=code, folder=folder, pack=pack)
            for run in runs:
                mark_queued(run.folder, run.status or RunStatus(), launcher=launcher)
            for part in split(runs, hardware, pack=pack, largest=max_array_size()):
                self._submit(part, parameters, hardware, folder, entry)

    def _submit(
        self, part: Submission, parameters: dict[str, Any], hardware: HardwareConfig, folder: Path, entry: str
    ) -> None:
        executor = SlurmExecutor(folder, python=command(hardware))
        executor.update_parameters(**parameters, array_parallelism=part.parallelism)
        limit = minutes(hardware.time)
        tasks = [SlurmRun(tuple(r.folder for r in g), entry, hardware.restarts, limit) for g in part.groups]
        try:
            jobs = executor.submit_array(tasks)
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise UserError(f"sbatch refused the jobs: {lines[-1]}", where="hardware") from error
        for group, job in zip(part.groups, jobs, strict=True):
            for run in group:
                hold_by_job(run.folder, job.job_id)
                self._own[run.folder] = job.job_id

    @property
    def done(self) -> bool:
        """Whether Slurm holds none of the runs any more, or the user left them to it."""
        return self._left_alone or not self._runs

    def tick(self) -> None:
        """Settle runs whose jobs ended without a word, and forget those that are over."""
        if not self.done and self._watch.latest().reachable:
            self._release()
            self._runs = [run for run in self._runs if not self._over(run)]

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
        settle(run.folder, status)
        return True

    def stop(self) -> None:
        """As the user wishes: cancel the jobs, which then save themselves, or leave them to Slurm."""
        if self._on_interrupt():
            cancel(self._own[run.folder] for run in self._runs if run.folder in self._own)
        else:
            self._left_alone = True

    def kill(self) -> None:
        """Wait no longer."""
        self._left_alone = True
