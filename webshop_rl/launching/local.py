"""Runs as processes of this machine, as many at once as there is room for.

A run starts when a slot is free, with that slot's threads and GPU, from the frozen code, in a session of
its own so that Ctrl-C reaches the launcher alone, which then asks the runs to save themselves.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from webshop_rl.errors import UserError
from webshop_rl.launching.progress import last_line
from webshop_rl.launching.reconcile import killed_by, record_crash
from webshop_rl.launching.warm import WarmProcess, WarmServer
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.run_status import RunStatus, State, read_status
from webshop_rl.tracking.config import Destination

_PYTHON = (sys.executable, "-u", "-m")
_STOP_AGAIN_S = 5.0
# A look at a thousand runs takes its time: between two, this many times that.
LOOK_SHARE = 9.0


class Queue(Protocol):
    """Executes prepared runs somewhere."""

    @property
    def done(self) -> bool:
        """Whether none of its runs executes or waits."""

    def tick(self) -> None:
        """Look at the runs once, and do what is due."""

    @property
    def note(self) -> str:
        """What keeps it from going on, in one line; "" for nothing."""

    def stop(self) -> None:
        """Start nothing more, and ask what runs to save itself and end."""

    def kill(self) -> None:
        """End what runs at once."""


# Every library that starts threads of its own; read when it is imported, so set before the process starts.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


@dataclass(frozen=True)
class Slot:
    """Room for one run: its CPU threads, and its GPU by the name CUDA_VISIBLE_DEVICES knows ("" for none)."""

    threads: int
    gpu: str = ""

    def environment(self) -> dict[str, str]:
        """What a process in this slot must find in its environment."""
        return {
            **thread_variables(self.threads),
            "CUDA_VISIBLE_DEVICES": self.gpu,
        }


def thread_variables(threads: int) -> dict[str, str]:
    """Environment in which a process uses that many threads."""
    return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), "TOKENIZERS_PARALLELISM": "false"}


def local_slots(hardware: Any, num_runs: int, *, pack: int = 1) -> list[Slot]:
    """Slots for num_runs runs: one a core (or a share of the cores), or `pack` on each GPU.

    Args:
        hardware: as HardwareConfig: device, threads, max_parallel.
        num_runs: runs to execute; more slots than that are of no use.
        pack: runs that share one GPU.
    Raises: UserError if a GPU is asked for and none is visible.
    """
    gpus = [] if hardware.device == "cpu" else visible_gpus()
    if hardware.device == "cuda" and not gpus:
        raise UserError("no GPU is visible on this machine", where="hardware.device", remedy="hardware=cpu")
    cores = cpu_cores()
    room = len(gpus) * pack if gpus else max(1, cores // (hardware.threads or 1))
    count = max(1, min(hardware.max_parallel or room, num_runs))
    threads = hardware.threads or max(1, cores // count)
    return [Slot(threads, gpus[k % len(gpus)] if gpus else "") for k in range(count)]


def cpu_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """Names of the GPUs this process may use, without importing torch."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() and name != "-1"]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.split() if done.returncode == 0 else []


@dataclass(frozen=True)
class FirstTask:
    """What a launcher executes before its runs.

    Attributes:
        module: executed as `python -m`.
        job: its argument, as JSON; the launcher's process id is added.
        log: where its output goes.
    """

    module: str
    job: Mapping[str, Any]
    log: Path


@dataclass
class _Running:
    run: RunFolder
    slot: Slot
    process: subprocess.Popen[bytes] | WarmProcess


class LocalQueue:
    """Executes runs, as many at once as there are slots.

    Args:
        runs: those to execute, in order; their folders are prepared.
        slots: what may be used at once.
        code: working directory of the processes, which import from it.
        launcher: name of the launcher in whose queue the runs wait.
        restarts: how often in a row a run that was killed starts again without having got further.
        first: what a process of its own executes before any run starts, and where its output goes.
        forked: where the runs are recorded, if several on CPUs are to be forked from one process that has
            imported what they need; None: each imports it.
    """

    def __init__(
        self,
        runs: Sequence[RunFolder],
        slots: Sequence[Slot],
        *,
        code: Path,
        launcher: str,
        restarts: int,
        first: FirstTask | None = None,
        forked: Destination | None = None,
    ) -> None:
        # The kernel must end them with the launcher (worker.end_with_parent), and a GPU cannot be shared so.
        may_fork = sys.platform == "linux" and len(runs) > 1 and not any(slot.gpu for slot in slots)
        self._forked = forked if may_fork else None
        self._server: WarmServer | None = None
        self._first = first if runs else None
        self._first_process: subprocess.Popen[bytes] | None = None
        self._code = code
        self._launcher = launcher
        self._restarts = restarts
        self._free = list(slots)
        self._waiting = deque(runs)
        self._running: list[_Running] = []
        self._asked_to_stop = False
        self._next_stop = 0.0
        for run in runs:
            _status(run).queue(launcher).write(run)

    @property
    def done(self) -> bool:
        """Whether no run executes or waits."""
        return not (self._waiting or self._running or self._first_process)

    @property
    def note(self) -> str:
        """Nothing that is outside keeps it from going on."""
        return ""

    def tick(self) -> None:
        """Conclude processes that ended, and start runs in free slots."""
        if self._first_process is not None and self._first_process.poll() is not None:
            self._first_process = None
        for ended in [r for r in self._running if r.process.poll() is not None]:
            self._running.remove(ended)
            self._free.append(ended.slot)
            self._conclude(ended)
        if self._asked_to_stop and time.monotonic() >= self._next_stop:
            self._ask_to_stop()
        self._serve()
        while self._waiting and self._free and self._first_is_done():
            if self._server is not None and self._server.waiting:
                break
            run, slot = self._waiting.popleft(), self._free.pop()
            self._running.append(_Running(run, slot, self._start(run, slot)))

    def _first_is_done(self) -> bool:
        """Whether no run waits for the first task; starts it where it has not begun."""
        if self._first is not None:
            task = self._first
            self._first = None
            job = json.dumps({**task.job, "launcher_pid": os.getpid()})
            self._first_process = self._process(task.module, job, task.log, self._free[-1])
        return self._first_process is None

    def _serve(self) -> None:
        """Have a process that runs are forked from, as long as some wait."""
        if self._forked is not None and self._waiting:
            environment = self._environment(self._free[-1])
            self._server = WarmServer(
                _PYTHON, code=self._code, environment=environment, mirrored=self._forked.mirrored
            )
            self._forked = None
        if self._server is not None and not self._waiting:
            self._server.retire()

    def _start(self, run: RunFolder, slot: Slot) -> subprocess.Popen[bytes] | WarmProcess:
        if self._server is not None and (forked := self._server.start(run)) is not None:
            return forked
        job = json.dumps({"run": str(run.path), "launcher_pid": os.getpid()})
        return self._process("webshop_rl.launching.worker", job, run.log, slot)

    def _process(self, module: str, job: str, log: Path, slot: Slot) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [*_PYTHON, module, job],
                cwd=self._code,
                env=self._environment(slot),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _environment(self, slot: Slot) -> dict[str, str]:
        environment = {**os.environ, **slot.environment()}
        # It would keep the frozen code in the working directory from being imported.
        environment.pop("PYTHONSAFEPATH", None)
        return environment

    def stop(self) -> None:
        """Start nothing more, and ask what runs to save itself and end."""
        self._asked_to_stop = True
        for run in self._waiting:
            _status(run).leave_queue("stopped before its turn").write(run)
        self._waiting.clear()
        self._ask_to_stop()

    def _ask_to_stop(self) -> None:
        """Again now and then: what starts just now may not listen yet."""
        self._next_stop = time.monotonic() + _STOP_AGAIN_S
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End what runs at once; its last checkpoint stands."""
        self._asked_to_stop = True
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        first = [self._first_process] if self._first_process else []
        for process in [*first, *(running.process for running in self._running)]:
            if process.poll() is None:
                os.killpg(process.pid, signum)

    def _conclude(self, ended: _Running) -> None:
        """Write down how a run ended whose process has."""
        status = _status(ended.run)
        code = ended.process.poll() or 0
        if status.state == State.INTERRUPTED and not self._asked_to_stop and self._lost(ended):
            self._start_again(ended.run, status)
            return
        if status.state not in (State.QUEUED, State.RUNNING):
            return
        if status.pid != ended.process.pid and status.state == State.RUNNING:
            return  # another launcher was faster and executes the run
        if self._asked_to_stop:
            status.lose_process("stopped on request").write(ended.run)
            return
        killed = code < 0
        cause = killed_by(-code) if killed else f"exit code {code}: {last_line(ended.run.log)}"
        restarts = self._restarts if killed else 0
        after = record_crash(ended.run, status, cause, restarts=restarts)
        if after.state == State.QUEUED:
            self._start_again(ended.run, after)

    def _start_again(self, run: RunFolder, status: RunStatus) -> None:
        """Before all others that wait."""
        status.queue(self._launcher).write(run)
        self._waiting.appendleft(run)

    def _lost(self, ended: _Running) -> bool:
        """Whether a run was asked to stop because the process that it was forked from is gone."""
        return isinstance(ended.process, WarmProcess) and self._server is not None and self._server.gone


def _status(run: RunFolder) -> RunStatus:
    return read_status(run) or RunStatus()
