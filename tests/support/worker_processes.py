"""The processes of one run, started as a launcher would start them."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path


@dataclass
class Worker:
    """A process of a run and what it printed."""

    process: BaseProcess
    log: Path


def start(size: int, function: Callable[[Path], object], folder: Path) -> list[Worker]:
    """Call a function of a folder in `size` processes, as a launcher would start them for one run."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        environment = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    # Forked from a process that has loaded torch, which takes longer than the runs.
    os.environ["OMP_NUM_THREADS"] = "1"
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload(["webshop_rl.experiment", "webshop_rl.distributed.ddp"])
    workers = []
    for rank in range(size):
        log = folder.with_name(f"{folder.name}_{uuid.uuid4().hex}.log")
        environment |= {"WORLD_SIZE": str(size), "RANK": str(rank), "LOCAL_RANK": str(rank)}
        process = fork.Process(target=_work, args=(function, folder, dict(environment), log))
        process.start()
        workers.append(Worker(process, log))
    return workers


def _work(function: Callable[[Path], object], folder: Path, environment: dict[str, str], log: Path) -> None:
    handle = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.environ.update(environment)
    function(folder)


def ended(workers: list[Worker]) -> list[tuple[int | None, str]]:
    """Exit code and output of each process; None for one that hangs."""
    deadline = time.monotonic() + 120
    for worker in workers:
        worker.process.join(max(0.0, deadline - time.monotonic()))
    codes = [worker.process.exitcode for worker in workers]
    for worker in workers:
        worker.process.kill()
    return [(code, worker.log.read_text()) for code, worker in zip(codes, workers, strict=True)]
