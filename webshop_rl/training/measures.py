"""What a run costs the machine: wall time of its parts, memory."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from webshop_rl.models.memory import resident_bytes
from webshop_rl.rollout.types import Trajectory


@contextlib.contextmanager
def timed(into: dict[str, float], name: str) -> Iterator[None]:
    """Add the wall time of a block, in seconds, under a name."""
    started = time.monotonic()
    yield
    into[name] = time.monotonic() - started


def throughput(trajectories: Sequence[Trajectory], seconds: float) -> dict[str, float]:
    """What was played a second, of a collection that took so long: episodes, reply tokens, decisions."""
    return {
        "time/episodes_per_s": len(trajectories) / seconds,
        "time/tokens_per_s": sum(t.num_action_tokens for t in trajectories) / seconds,
        "time/decisions_per_s": sum(t.num_decisions for t in trajectories) / seconds,
    }


class Cores:
    """How many cores the process keeps busy; far fewer than it has: it waits for others, or for a disk."""

    def __init__(self) -> None:
        self._at = time.monotonic()
        self._cpu_s = time.process_time()

    def busy(self) -> dict[str, float]:
        """The mean since the call before, the first time since this was made; all threads together."""
        at, cpu_s = time.monotonic(), time.process_time()
        mean = (cpu_s - self._cpu_s) / max(at - self._at, 1e-9)
        self._at = at
        self._cpu_s = cpu_s
        return {"system/cpu_cores": mean}


def memory() -> dict[str, float]:
    """Resident memory of the process, now and at its peak; with a GPU, the peak there since the last call."""
    found: dict[str, Any] = {
        "system/rss_mb": resident_bytes() / 2**20,
        "system/rss_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if torch.cuda.is_available():
        found["system/gpu_mem_mb"] = torch.cuda.max_memory_allocated() / 2**20
        torch.cuda.reset_peak_memory_stats()
    return found
