"""How much of a sweep's work is done side by side: wall time over the sum of its runs alone.

    python -m benchmarks.sweep_parallelism [key=value ...]

Runs `launch.py -m algo=apo_sft,apo_pg lr=5e-6,1e-5` in a fresh root, then each of its four runs by
itself on one thread in another, and prints the ratio. Alone means nothing else on the machine: the
figure is worth no more than the machine is quiet.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

GRID = {"algo": ("apo_sft", "apo_pg"), "lr": ("5e-6", "1e-5")}


def timed(arguments: Sequence[str], threads: int | None) -> float:
    """Wall time of one launch, seconds."""
    env = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    if threads:
        env["OMP_NUM_THREADS"] = str(threads)
    started = time.monotonic()
    subprocess.run([sys.executable, "launch.py", *arguments], env=env, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def main(overrides: Sequence[str]) -> int:
    """Print the wall times and their ratio."""
    with tempfile.TemporaryDirectory() as together, tempfile.TemporaryDirectory() as apart:
        grid = [f"{key}={','.join(values)}" for key, values in GRID.items()]
        wall = timed(["-m", *grid, f"root={together}", *overrides], None)
        print(f"sweep of 4 runs: {wall:.1f} s", flush=True)
        alone = []
        for values in itertools.product(*GRID.values()):
            chosen = [f"{key}={value}" for key, value in zip(GRID, values, strict=True)]
            seconds = timed([*chosen, f"root={apart}", "hardware.threads=1", *overrides], 1)
            alone.append(seconds)
            print(f"{' '.join(chosen)} alone on one thread: {seconds:.1f} s", flush=True)
    print(f"ratio {wall / sum(alone):.2f} (sum of the four {sum(alone):.1f} s; aim: at most 0.7)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
