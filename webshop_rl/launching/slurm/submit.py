"""Hands jobs to sbatch: its options, the script around the run, and waiting for a controller that is away."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from webshop_rl.config.groups import HardwareConfig
from webshop_rl.errors import UserError
from webshop_rl.launching.launchers import StopRequests
from webshop_rl.launching.local import thread_variables
from webshop_rl.launching.slurm import submitit_adapter
from webshop_rl.launching.slurm.commands import cancel, jobs_of_scripts_in, query_jobs
from webshop_rl.launching.slurm.job import REQUEUE
from webshop_rl.launching.slurm.jobs import Jobs, is_away, minutes

_JOB_END = "webshop_rl.launching.slurm.job"
# Each takes some 14 s while the controller is away, 5 s if it refuses.
_SQUEUE_TRIES, _REQUEUE_TRIES = 60, 12
_AGAIN_S = 1.0
_GIVE_UP_S = 3600.0


def sbatch_parameters(
    hardware: HardwareConfig, *, name: str, code: Path, folder: Path, pack: int
) -> dict[str, Any]:
    """Parameters of submitit, from the hardware group.

    Args:
        hardware: the group.
        name: of the jobs.
        code: the frozen code; the job changes into it, so that it is imported, after a requeue too.
        folder: where submitit keeps its files.
        pack: runs in one job.
    Raises: UserError if the time limit is not one, or several processes and several runs share a job.
    """
    tasks = hardware.slurm.nodes * hardware.slurm.tasks_per_node
    if pack > 1 and tasks > 1:
        raise UserError("packed runs have one process each", where="sweep.pack", remedy="sweep.pack=1")
    cpus = hardware.slurm.cpus or (hardware.threads or 1) * pack
    threads = hardware.threads or max(1, cpus // pack)
    chosen = {
        "partition": hardware.slurm.partition,
        "account": hardware.slurm.account,
        "qos": hardware.slurm.qos,
        "mem": hardware.slurm.mem,
        "gpus_per_node": hardware.slurm.gpus or None,
    }
    return {
        **{key: value for key, value in chosen.items() if value is not None},
        "job_name": name,
        "wckey": None,  # submitit's own is refused where wckeys are enforced
        "time": minutes(hardware.slurm.time),
        "nodes": hardware.slurm.nodes,
        "ntasks_per_node": hardware.slurm.tasks_per_node,
        "cpus_per_task": cpus,
        "signal_delay_s": hardware.slurm.signal_s,
        "stderr_to_stdout": False,
        "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={cpus}"],
        "setup": [
            *hardware.slurm.setup,
            *(f"export {key}={value}" for key, value in thread_variables(threads).items()),
            "unset PYTHONSAFEPATH",
            "trap : USR2",  # meant for the run; sent to the script too by scancel --full
            f"cd {shlex.quote(str(code))} || exit 1",
        ],
        "teardown": _teardown(command(hardware), folder),
        "additional_parameters": {"requeue": True, **hardware.slurm.sbatch},
    }


def waiting_for(parameters: dict[str, Any], job_id: str | None) -> dict[str, Any]:
    """The parameters of jobs that start once another has ended, however that ends."""
    if job_id is None:
        return parameters
    further = parameters["additional_parameters"]
    conditions = [further["dependency"]] if "dependency" in further else []
    dependency = ",".join([*conditions, f"afterany:{job_id}"])
    return {**parameters, "additional_parameters": {**further, "dependency": dependency}}


def _teardown(python: str, folder: Path) -> list[str]:
    """The end of a job's script: what is asked of Slurm is asked here, for a container may not know it.

    A run that ended as it should has left a result. One that asks for a requeue ends with that code; for
    one that crashed, job.py decides whether it starts again. Where Slurm has taken the job away (cancelled,
    preempted, requeued), nothing is to be done; the script may outlive it, and then the job that runs is
    another attempt, by its count of restarts. A controller that is away is waited for.
    """
    place = shlex.quote(str(folder))
    result = f"{place}/{submitit_adapter.result_file(Path(), '${job}')}"
    return [
        "code=$?",
        "job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_}${SLURM_ARRAY_TASK_ID:-$SLURM_JOB_ID}",
        f"[ $code -eq 0 ] && [ -e {result} ] && exit 0",
        f"for k in $(seq {_SQUEUE_TRIES}); do",
        "  now=$(squeue -h -r -O State:20,RestartCnt:12 -j $job) && break; sleep 5",
        "done",
        'read -r state restarts <<< "$now"',
        '[ "$state $restarts" = "RUNNING ${SLURM_RESTART_COUNT:-0}" ] || exit $code',
        f"[ $code -eq {REQUEUE} ] || {{ {python} -m {_JOB_END} {place} $code; code=$?; }}",
        f"[ $code -eq {REQUEUE} ] || exit $code",
        f"for k in $(seq {_REQUEUE_TRIES}); do scontrol requeue $job && sleep 60; sleep 5; done",
        "exit 1",
    ]


def command(hardware: HardwareConfig) -> str:
    """The python command of the jobs, in its container."""
    python = hardware.slurm.python or shlex.quote(sys.executable)
    return f"{hardware.slurm.container} {python}" if hardware.slurm.container else python


def submit(
    tasks: Sequence[Callable[[], object]],
    *,
    folder: Path,
    python: str,
    parameters: Mapping[str, Any],
    noted: Collection[str],
    stop: StopRequests,
) -> list[str]:
    """Submit an array; the jobs' ids in the order of the tasks.

    Args:
        tasks: what the jobs execute.
        folder: for submitit's files; of this launch alone.
        python: the python command of the jobs.
        parameters: of `sbatch_parameters`.
        noted: jobs of this launch that are known already.
        stop: a request ends the wait for a controller that is away.
    Raises: UserError if sbatch refuses, SystemExit at a request to stop.
    """
    while True:
        try:
            # sbatch's stderr is in the error, too.
            with _outside_of_any_job(), contextlib.redirect_stderr(io.StringIO()):
                return submitit_adapter.submit_array(
                    tasks, folder=folder, python=python, parameters=parameters
                )
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            if not is_away(lines[-1]):
                raise UserError(f"sbatch refused the jobs: {lines[-1]}", where="hardware") from error
        answering_controller(stop, lines[-1])
        withdraw([folder], noted)  # perhaps only its answer was lost, and the jobs are in the queue


def answering_controller(stop: StopRequests, problem: str = "") -> Jobs:
    """Slurm's view of the jobs, waited for while the controller is away.

    Args:
        stop: a request ends the wait.
        problem: what its commands said last, if it is known to be away.
    Raises: SystemExit at a request to stop; UserError after an hour.
    """
    deadline, reported = time.monotonic() + _GIVE_UP_S, False
    while True:
        if problem and not reported:
            reported = True
            print(f"waiting for Slurm's controller, Ctrl-C gives up: {problem}", file=sys.stderr, flush=True)
        if problem and stop.count:
            raise SystemExit(stop.exit_code)
        jobs = query_jobs()
        if not jobs.away:
            return jobs
        problem = jobs.problem
        if time.monotonic() > deadline:
            raise UserError(problem, where="Slurm", remedy="launch again when its controller is back")
        time.sleep(_AGAIN_S)


def withdraw(folders: Collection[Path], noted: Collection[str]) -> set[str]:
    """Cancel jobs that were submitted from these folders and that are noted for no run.

    A launcher that is killed while it submits leaves such jobs, and so does an answer of sbatch that is lost;
    the job that samples reference returns before the runs is one, too.
    Returns: their ids.
    Raises: UserError if the controller does not answer.
    """
    found = set(jobs_of_scripts_in(folders)) - set(noted)
    cancel(found)
    return found


@contextlib.contextmanager
def _outside_of_any_job() -> Iterator[None]:
    """Without the variables of a job this process may be in, which sbatch takes for options."""
    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = dict(os.environ)
    for name in kept:
        if name.startswith(("SLURM_", "SLURMD_")) and name != "SLURM_CONF":
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)
