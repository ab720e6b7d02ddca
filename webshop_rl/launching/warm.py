"""Starts runs in a tenth of a second: a process that has imported what they need is forked for each.

    python -m webshop_rl.launching.warm '{"launcher_pid": PID, "mirrored": true}'

Importing torch, transformers and MLflow takes a processor ten seconds, as long as a short run learns. The
launcher writes a job a line; each is answered, as is each end of a process. For CPUs alone: a process that
has touched a GPU cannot be forked.

    launcher                          here
    {"run": FOLDER, "log": FILE}  ->
                                  <-  {"started": PID}
                                  <-  {"ended": PID, "code": exit code, negative for a signal}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from webshop_rl.launching import worker
from webshop_rl.storage.folders import RunFolder
from webshop_rl.storage.lock import start_of
from webshop_rl.tracking import client

_ANSWER_S = 60.0  # longest wait for the answer to a job


class WarmProcess:
    """A run's process, as far as a queue asks of subprocess.Popen.

    Attributes:
        pid: of the process, and of its group.
        returncode: None while it runs.
    """

    def __init__(self, server: WarmServer, pid: int) -> None:
        self._server = server
        self._start = start_of(pid)
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = self._server.code_of(self.pid)
        if self.returncode is None and self._server.gone:
            running = start_of(self.pid)
            if not running or running != self._start:
                self.returncode = -signal.SIGKILL  # nobody has seen its end
        return self.returncode


class WarmServer:
    """The launcher's end.

    Args:
        command: words that execute a module, ending in "-m".
        code: working directory, from which the process imports.
        environment: of the process, and so of all runs.
        mirrored: whether the runs are replayed to MLflow.

    Attributes:
        gone: whether the process has ended.
    """

    def __init__(
        self, command: Sequence[str], *, code: Path, environment: Mapping[str, str], mirrored: bool
    ) -> None:
        job = json.dumps({"launcher_pid": os.getpid(), "mirrored": mirrored})
        self._process = subprocess.Popen(
            [*command, "webshop_rl.launching.warm", job],
            cwd=code,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._ready = False
        self.gone = False
        self._started: int | None = None
        self._codes: dict[int, int] = {}
        self._text = b""

    @property
    def waiting(self) -> bool:
        """Whether it is still importing."""
        self._read(0.0)
        return not (self._ready or self.gone)

    def start(self, run: RunFolder) -> WarmProcess | None:
        """Have a run executed; None if there is no such process any more, or it does not answer."""
        self._read(0.0)
        if self.gone or not self._ready or self._process.stdin is None or self._process.stdin.closed:
            return None
        self._started = None
        line = json.dumps({"run": str(run.path), "log": str(run.log)})
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        deadline = time.monotonic() + _ANSWER_S
        while self._started is None and not self.gone and (left := deadline - time.monotonic()) > 0:
            self._read(left)
        if self._started is None:
            # What it may have begun ends with it.
            self._process.kill()
            return None
        return WarmProcess(self, self._started)

    def code_of(self, pid: int) -> int | None:
        """Exit code of a process that was started, told once; None while it runs, or if nobody knows."""
        self._read(0.0)
        return self._codes.pop(pid, None)

    def retire(self) -> None:
        """Nothing more will be started: the process ends once its last run has."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.poll()

    def _read(self, wait_s: float) -> None:
        """Take what it says, waiting no longer than that for the first word."""
        output = self._process.stdout
        assert output is not None
        while not self.gone:
            with selectors.DefaultSelector() as selector:
                selector.register(output, selectors.EVENT_READ)
                if not selector.select(wait_s):
                    return
            read = os.read(output.fileno(), 1 << 16)
            self.gone = not read
            *lines, self._text = (self._text + read).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
            wait_s = 0.0

    def _take(self, said: Mapping[str, Any]) -> None:
        self._ready = True
        if "started" in said:
            self._started = said["started"]
        elif "ended" in said:
            self._codes[said["ended"]] = said["code"]


def main(launcher_pid: int, *, mirrored: bool) -> int:
    """Serve until the launcher says no more, or is gone; in a forked process, execute its run.

    Returns: the exit code of either.
    """
    worker.end_with_parent(launcher_pid)
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints while it is imported is no answer
    # Whatever is wrong with an import, the run itself fails of it and says so.
    with contextlib.suppress(Exception):
        importlib.import_module("webshop_rl.experiment")
    with contextlib.suppress(Exception):
        if mirrored:
            client.preload()
    gc.collect()
    gc.freeze()  # no collection touches, and so copies, what all runs share
    here = os.getpid()
    job = _serve(answers)
    if job is None:
        return 0
    os.close(answers)
    return worker.main(RunFolder(Path(job["run"])), here)


def _serve(answers: int) -> dict[str, Any] | None:
    """Fork a process for each job. Returns: in such a process its job; None when all is done."""
    woken, wake = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda signum, frame: None)
    signal.set_wakeup_fd(wake.fileno())
    _say(answers, {"ready": os.getpid()})
    text, going, open_ = b"", 0, True
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while open_ or going:
            events = {key.fd for key, _ in selector.select()}
            if woken.fileno() in events:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(1 << 12)
            going -= _tell_ended(answers)
            if 0 not in events:
                continue
            read = os.read(0, 1 << 16)
            if not read:
                open_ = False
                selector.unregister(0)
            *lines, text = (text + read).split(b"\n")
            for line in lines:
                job: dict[str, Any] = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become_a_run(Path(job["log"]))
                    woken.close()
                    wake.close()
                    return job
                going += 1
                _say(answers, {"started": pid})
    return None


def _tell_ended(answers: int) -> int:
    """Say how processes ended that have; how many."""
    told = 0
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return told
        if pid == 0:
            return told
        _say(answers, {"ended": pid, "code": os.waitstatus_to_exitcode(status)})
        told += 1


def _become_a_run(log: Path) -> None:
    """What a new process would be: a session, signals, output and chance of its own."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _say(answers: int, what: Mapping[str, int]) -> None:
    os.write(answers, f"{json.dumps(what)}\n".encode())


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    raise SystemExit(main(given["launcher_pid"], mirrored=given["mirrored"]))
