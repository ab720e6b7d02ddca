"""Where a run stands, by its status.json; every change of it is a method here.

prepared -> queued -> running -> finished
                         |-----> failed       the run raised an error, or crashed too often
                         |-----> interrupted  stopped on request, or its process is gone
                         '-----> preempted    saved itself and waits in Slurm's queue again
"""

from __future__ import annotations

import enum
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, fields, replace

from webshop_rl.errors import UserError
from webshop_rl.storage.files import read_json, replace_file
from webshop_rl.storage.folders import RunFolder


class State(enum.StrEnum):
    """Where a run stands."""

    PREPARED = "prepared"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    PREEMPTED = "preempted"


# A launcher or Slurm has the run.
GOING = (State.QUEUED, State.RUNNING, State.PREEMPTED)
# Stopped attempts in a row that may come before the first update of an attempt.
MAX_STALLS = 10


@dataclass(frozen=True)
class RunStatus:
    """One run's status.json.

    Attributes:
        state: as last written; see launching.reconcile for what is true now.
        attempts: how often the run was started.
        crashes: attempts in a row that crashed without getting further.
        stalls: attempts in a row that were stopped and requeued without getting further.
        launcher: name of the launcher whose local queue the run waits in; "" for none.
        host, pid: of the process that ran or runs it.
        queued, started, ended: seconds since 1970 of the last such event; 0 for never.
        earlier_s: wall time of the attempts before the last, seconds.
        progress: updates done when the last attempt started.
        error: one line, of a failed or interrupted run.
    """

    state: State = State.PREPARED
    attempts: int = 0
    crashes: int = 0
    stalls: int = 0
    launcher: str = ""
    host: str = ""
    pid: int = 0
    queued: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    earlier_s: float = 0.0
    progress: int = 0
    error: str = ""

    @property
    def elapsed_s(self) -> float:
        """Wall time of the last attempt so far, seconds."""
        if not self.started:
            return 0.0
        return max(0.0, (self.ended if self.ended >= self.started else time.time()) - self.started)

    @property
    def total_s(self) -> float:
        """Wall time of all attempts so far, seconds."""
        return self.earlier_s + self.elapsed_s

    # What a launcher does with a run.

    def prepare(self) -> RunStatus:
        """Its folder was written anew; what earlier attempts did is kept."""
        return replace(self, launcher="", queued=time.time(), error="")

    def queue(self, launcher: str) -> RunStatus:
        """A launcher will start it, or is submitting it to Slurm."""
        return replace(self, state=State.QUEUED, launcher=launcher, queued=time.time())

    def leave_queue(self, error: str = "") -> RunStatus:
        """Nobody will start it before a command asks for it again."""
        state = State.INTERRUPTED if self.attempts else State.PREPARED
        return replace(self, state=state, launcher="", error=error or self.error)

    # What the process that executes it does.

    def start(self, *, update: int, worked_s: float) -> RunStatus:
        """This process begins an attempt.

        Args:
            update: updates done so far.
            worked_s: wall time of the attempt before, seconds.
        """
        return replace(
            self,
            state=State.RUNNING,
            attempts=self.attempts + 1,
            host=socket.gethostname(),
            pid=os.getpid(),
            started=time.time(),
            ended=0.0,
            earlier_s=self.earlier_s + worked_s,
            progress=update,
            error="",
        )

    def finish(self) -> RunStatus:
        """It measured what it was to measure."""
        return replace(self._ended(""), state=State.FINISHED)

    def fail(self, error: str) -> RunStatus:
        """It raised an error, or cannot go on."""
        return replace(self._ended(error), state=State.FAILED)

    def stop(self, error: str = "stopped on request", *, update: int) -> RunStatus:
        """It saved itself and ended because it was asked to, or because the disk is full.

        Args:
            update: updates done by now.
        """
        stalls = 0 if update > self.progress else self.stalls + 1
        return replace(self._ended(error), state=State.INTERRUPTED, stalls=stalls)

    def preempt(self, *, update: int) -> RunStatus:
        """As stop, and Slurm is asked to start it again; fails once that leads nowhere."""
        stopped = self.stop("", update=update)
        if stopped.stalls > MAX_STALLS:
            return stopped.fail(f"stopped {stopped.stalls} times in a row before it got further")
        return replace(stopped, state=State.PREEMPTED)

    # What another process finds out about it.

    def crash(self, cause: str, *, update: int, restarts: int) -> RunStatus:
        """Its process died and could not say so: it waits to be started again, or has failed.

        A crash after which more is recorded than before the attempt is no repetition, so a run that is
        killed now and then finishes, and one that crashes always in the same place does not go on.

        Args:
            cause: in a few words.
            update: updates done by now.
            restarts: how many crashes in a row without getting further are followed by another attempt.
        """
        crashes = 1 if update > self.progress else self.crashes + 1
        if crashes > restarts:
            times = f", {crashes} attempts in a row" if crashes > 1 else ""
            return self.fail(f"{cause}{times}")
        again = replace(self, state=State.QUEUED, crashes=crashes, ended=time.time(), launcher="")
        return replace(again, error=f"{cause}; starts again")

    def give_up(self) -> RunStatus:
        """The attempt that was to follow a crash cannot be started."""
        return replace(self, state=State.FAILED, error=self.error.partition(";")[0])

    def wait_for_launcher(self) -> RunStatus:
        """Its launcher, which lives, will start it again."""
        return replace(self, state=State.QUEUED)

    def wait_for_job(self) -> RunStatus:
        """Its job is in the queue, or about to be started again."""
        return replace(self, state=State.PREEMPTED if self.attempts else State.QUEUED)

    def lose_process(self, error: str) -> RunStatus:
        """Its process is gone and nobody will start it again."""
        return replace(self, state=State.INTERRUPTED, launcher="", error=error)

    def lose_job(self, error: str, *, failed: bool) -> RunStatus:
        """Its job is over: it has failed, or whatever command comes next goes on with it."""
        return replace(self, state=State.FAILED, error=error) if failed else self.leave_queue(error)

    def settle(self) -> RunStatus:
        """An end that another process found out, to be written down."""
        return replace(self, ended=self.ended or time.time(), launcher="")

    def _ended(self, error: str) -> RunStatus:
        return replace(self, crashes=0, stalls=0, launcher="", ended=time.time(), error=error)

    def write(self, run: RunFolder) -> RunStatus:
        """Replace status.json in one step; returns what was written."""
        replace_file(run.status, json.dumps(asdict(self), indent=1), durable=False)
        return self


def read_status(run: RunFolder) -> RunStatus | None:
    """What the folder says; None if it contains no run (or a torn start of one).

    Raises: UserError if other code wrote it, with a state that this code does not have.
    """
    content = read_json(run.status)
    if content is None:
        return None
    known = {f.name for f in fields(RunStatus)}
    status = RunStatus(**{k: v for k, v in content.items() if k in known})
    try:
        return replace(status, state=State(status.state))
    except ValueError as error:
        raise UserError(
            f"the run was made by other code: {error}",
            where=str(run.status),
            remedy="use the code it was made with",
        ) from error
