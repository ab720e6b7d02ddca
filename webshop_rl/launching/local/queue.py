"""Runs as processes of this machine, through submitit's local executor with a queue in front of it.

submitit starts all jobs at once, all on GPU 0, and signals each after two minutes. Here a run starts
when a slot is free, with that slot's threads and GPU, from the frozen code, in a session of its own
so that Ctrl-C reaches the launcher alone, which then asks the runs to save themselves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from submitit.local.local import LocalExecutor, LocalJob

from webshop_rl.launching.local.slots import Slot
from webshop_rl.launching.runs.deaths import after_death, killed_by
from webshop_rl.launching.runs.log import logged
from webshop_rl.launching.runs.plan import Planned
from webshop_rl.launching.runs.prepare import mark_queued
from webshop_rl.launching.runs.progress import last_line
from webshop_rl.launching.runs.state import RunStatus, State, read_status, write_status
from webshop_rl.launching.runs.worker import Interrupted, LeftAlone, RunFailed, end_with_parent, execute
from webshop_rl.storage.folders import RunFolder

LAUNCHER_PID = "WEBSHOP_RL_LAUNCHER_PID"
_NEVER_MIN = 60 * 24 * 365 * 10
_ASK_EVERY_S = 5.0


class SlotExecutor(LocalExecutor):  # type: ignore[misc]
    """submitit's local executor for one slot: one process a job, no controller and no time limit."""

    def __init__(self, folder: Path, slot: Slot, code: Path) -> None:
        super().__init__(folder)
        self.slot, self.code = slot, code
        self.job_name, self.log = "", Path(os.devnull)
        self.update_parameters(timeout_min=_NEVER_MIN)

    def submit_run(self, run: Planned, attempt: int, entry: str) -> LocalJob[str]:
        """Start a run's next attempt; its output is appended to log.txt in its folder."""
        self.job_name, self.log = f"{run.run}-a{attempt}", RunFolder(run.folder).log
        job = self.submit(LocalRun(run.folder, entry))
        assert isinstance(job, LocalJob)
        return job

    def _submit_command(self, command: str) -> LocalJob[Any]:
        environment = {
            **os.environ,
            **self.slot.environment(),
            "SUBMITIT_EXECUTOR": "local",
            # Its lines would begin and end every log, and call a run that was stopped a success.
            "SUBMITIT_LOG_LEVEL": "CRITICAL",
            "SUBMITIT_LOCAL_JOB_ID": self.job_name,
            "SUBMITIT_LOCAL_NTASKS": "1",
            "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
            "SUBMITIT_LOCAL_NODEID": "0",
            "SUBMITIT_LOCAL_GLOBALID": "0",
            "SUBMITIT_LOCAL_LOCALID": "0",
            LAUNCHER_PID: str(os.getpid()),
        }
        # These two would let something come before the frozen code in the working directory.
        environment.pop("PYTHONSAFEPATH", None)
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "submitit.core._submit", str(self.folder)],
                cwd=self.code,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return LocalJob(folder=self.folder, job_id=self.job_name, process=process)


@dataclass(frozen=True)
class LocalRun:
    """What a local process does: its run, and nothing once the launcher is gone."""

    folder: Path
    entry: str

    def __call__(self) -> str:
        try:
            end_with_parent(int(os.environ[LAUNCHER_PID]))
            with logged(self.folder, screen=False):
                execute(self.folder, entry=self.entry)
        except (Interrupted, LeftAlone) as stop:
            return str(stop)
        except RunFailed:
            # Its traceback is in the log; submitit would print one more.
            raise SystemExit(1) from None
        return "finished"


@dataclass
class _Running:
    run: Planned
    executor: SlotExecutor
    job: LocalJob[str]

    @property
    def process(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = self.job._process
        return process


class LocalQueue:
    """Executes runs, as many at once as there are slots.

    Args:
        runs: those to execute, in order; their folders are prepared.
        slots: what may be used at once.
        folder: where submitit keeps its files.
        code: working directory of the processes, which import from it.
        launcher: id that says whose queue the runs wait in.
        restarts: how often in a row a run that was killed starts again without having got further.
        entry: `module:function` that executes a run.
    """

    def __init__(
        self,
        runs: Sequence[Planned],
        slots: Sequence[Slot],
        *,
        folder: Path,
        code: Path,
        launcher: str,
        restarts: int,
        entry: str,
    ) -> None:
        self._launcher, self._restarts, self._entry = launcher, restarts, entry
        self._free = [SlotExecutor(folder, slot, code) for slot in slots]
        self._waiting = deque(runs)
        self._running: list[_Running] = []
        self._asked_to_stop = False
        self._ask_again = 0.0
        for run in runs:
            mark_queued(run.folder, _status(run), launcher=launcher)

    @property
    def done(self) -> bool:
        """Whether no run executes or waits."""
        return not (self._waiting or self._running)

    @property
    def note(self) -> str:
        """Nothing that is outside keeps it from going on."""
        return ""

    def tick(self) -> None:
        """Take note of processes that ended, and start what has room."""
        for ended in [r for r in self._running if r.process.poll() is not None]:
            self._running.remove(ended)
            self._free.append(ended.executor)
            self._conclude(ended)
        if self._asked_to_stop and time.monotonic() >= self._ask_again:
            self._ask()
        while self._waiting and self._free:
            run, executor = self._waiting.popleft(), self._free.pop()
            job = executor.submit_run(run, _status(run).attempts + 1, self._entry)
            self._running.append(_Running(run, executor, job))

    def stop(self) -> None:
        """Start nothing more, and ask what runs to save itself and end."""
        self._asked_to_stop = True
        for run in self._waiting:
            status = _status(run)
            state = State.INTERRUPTED if status.attempts else State.PREPARED
            write_status(
                run.folder, replace(status, state=state, launcher="", error="stopped before its turn")
            )
        self._waiting.clear()
        self._ask()

    def _ask(self) -> None:
        """Again now and then: submitit drops a signal that comes while it starts."""
        self._ask_again = time.monotonic() + _ASK_EVERY_S
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End what runs at once; its last checkpoint stands."""
        self._asked_to_stop = True
        self._signal(signal.SIGKILL)

    def _signal(self, signum: signal.Signals) -> None:
        for running in self._running:
            if running.process.poll() is None:
                os.killpg(running.process.pid, signum)

    def _conclude(self, ended: _Running) -> None:
        """Make the status of a run whose process is gone say so."""
        status, code = _status(ended.run), ended.process.returncode
        if status.state not in (State.QUEUED, State.RUNNING):
            if status.launcher:
                write_status(ended.run.folder, replace(status, launcher=""))
            return
        if status.pid != ended.process.pid and status.state == State.RUNNING:
            return  # another launcher was faster and executes the run
        if self._asked_to_stop:
            stopped = replace(status, state=State.INTERRUPTED, launcher="", error="stopped on request")
            write_status(ended.run.folder, stopped)
            return
        killed = code < 0
        cause = (
            killed_by(-code) if killed else f"exit code {code}: {last_line(RunFolder(ended.run.folder).log)}"
        )
        after = after_death(ended.run.folder, status, cause, restarts=self._restarts if killed else 0)
        if after.state == State.QUEUED:
            mark_queued(ended.run.folder, after, launcher=self._launcher)
            self._waiting.appendleft(ended.run)


def _status(run: Planned) -> RunStatus:
    return read_status(run.folder) or run.status or RunStatus()
