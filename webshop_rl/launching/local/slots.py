"""How many runs this machine executes at once, and what each of them may use."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import Any

from webshop_rl.errors import UserError

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
