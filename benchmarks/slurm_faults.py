"""What can go wrong on a cluster, done on purpose to the one of tests/slurm/cluster.sh."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from webshop_rl.launching.slurm.commands import query_jobs
from webshop_rl.launching.slurm.jobs import job_id_of
from webshop_rl.storage.folders import Root
from webshop_rl.storage.run_status import State, read_status


@dataclass(frozen=True)
class Victim:
    """A run that executes now: its folder, its job and node, its process."""

    folder: Path
    job_id: str
    node: str
    pid: int


class Tracker:
    """An MLflow server over a root that can be killed and started again."""

    def __init__(self, root: Path, port: int) -> None:
        self.root = root
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        if self._process is not None:
            return
        self.root.mkdir(parents=True, exist_ok=True)  # a server of a folder that is not there is refused
        serve = ["-m", "webshop_rl.tracking.serve", "--root", str(self.root), "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, *serve],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                return
            time.sleep(0.2)
        raise RuntimeError("the MLflow server does not start")

    def stop(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Faults:
    """Kinds of faults by name, and what they need to be undone.

    Args:
        cluster: folder of the test cluster, with its pid files.
        root: of the sweep.
        tracker: its MLflow server.
        chance: decides whom a fault hits.
    """

    def __init__(self, cluster: Path, root: Path, tracker: Tracker, chance: random.Random) -> None:
        self._cluster = cluster
        self._root = root
        self._tracker = tracker
        self._chance = chance
        self._repairs: list[tuple[float, Callable[[], object]]] = []
        self.kinds: dict[str, Callable[[Victim], object]] = {
            "requeue": lambda v: _slurm("scontrol", "requeue", v.job_id),
            "usr2": lambda v: _slurm("scancel", "--signal=USR2", v.job_id),
            "preempt": lambda v: _slurm(
                *("sbatch", "-p", "high", "-w", v.node, "--exclusive", "-o", "/dev/null", "--wrap", "sleep 2")
            ),
            "kill -9": lambda v: _kill(v.pid),
            "node down": self._node_down,
            "node crash": self._node_crash,
            "tracker down": self._tracker_down,
            "controller restart": self._controller_restart,
        }

    def victim(self) -> Victim | None:
        """A run that executes now, by chance; None if there is none."""
        jobs = query_jobs()
        found = []
        for run in Root(self._root).all_runs():
            status = read_status(run)
            job_id = job_id_of(run)
            job = jobs.get(job_id) if job_id else None
            if status and status.state == State.RUNNING and job and job.state == "RUNNING":
                found.append(Victim(run.path, job_id, job.node, status.pid))
        return self._chance.choice(found) if found else None

    def repair(self, *, all_of_it: bool = False) -> None:
        """Undo what is due."""
        now = time.monotonic()
        due = [repair for when, repair in self._repairs if all_of_it or when <= now]
        self._repairs = [] if all_of_it else [(when, r) for when, r in self._repairs if when > now]
        for repair in due:
            repair()

    def _node_down(self, victim: Victim) -> None:
        _slurm("scontrol", "update", f"nodename={victim.node}", "state=down", "reason=drill")
        self._later(4.0, lambda: self._resume(victim.node))

    def _resume(self, node: str) -> None:
        """Bring a node back, as an administrator does: once nothing of its former jobs is left on it."""
        if _steps_of(node):
            self._later(1.0, lambda: self._resume(node))
        else:
            _slurm("scontrol", "update", f"nodename={node}", "state=resume")

    def _node_crash(self, victim: Victim) -> None:
        """The node's daemon and all that ran on it are gone at once; Slurm finds out by and by."""
        _kill(int((self._cluster / f"run/slurmd.{victim.node}.pid").read_text()))
        steps = _steps_of(victim.node)
        for pid in [*_processes_of(victim.node), *steps]:
            _kill(pid)
        self._later(15.0, lambda: subprocess.run(["slurmd", "-N", victim.node], check=False))

    def _tracker_down(self, victim: Victim) -> None:
        self._tracker.stop()
        self._later(self._chance.uniform(3.0, 12.0), self._tracker.start)

    def _controller_restart(self, victim: Victim) -> None:
        _kill(int((self._cluster / "run/slurmctld.pid").read_text()))
        self._later(4.0, lambda: subprocess.run(["slurmctld"], check=False))

    def _later(self, seconds: float, repair: Callable[[], object]) -> None:
        self._repairs.append((time.monotonic() + seconds, repair))


def _slurm(*words: str) -> bool:
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    return done.returncode == 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _node_of(pid: int) -> str:
    """The node a process of a job runs on, from its environment."""
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    names = [
        entry.partition(b"=")[2].decode() for entry in environment if entry.startswith(b"SLURMD_NODENAME=")
    ]
    return names[0] if names else ""


def _processes_of(node: str) -> list[int]:
    """Processes of the jobs on a node, their scripts included."""
    return [pid for path in Path("/proc").glob("[0-9]*") if _node_of(pid := int(path.name)) == node]


def _steps_of(node: str) -> list[int]:
    """Processes of Slurm's own that look after the jobs of a node."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if path.read_text().startswith("slurmstepd") and _of_node(int(path.parent.name), node):
                found.append(int(path.parent.name))
    return found


def _of_node(step: int, node: str) -> bool:
    """Whether a step daemon's children run on the node."""
    children = Path(f"/proc/{step}/task/{step}/children")
    with contextlib.suppress(OSError):
        return any(_node_of(int(child)) == node for child in children.read_text().split())
    return False
