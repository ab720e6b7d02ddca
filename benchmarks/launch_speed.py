"""What launching costs: `python -m benchmarks.launch_speed [--sizes 4 100 1000] [--no-slurm]`.

answering   seconds until --help and --cfg job have answered
composing   seconds to compose a grid, and how often as fast as Hydra's own launchers compose it
queueing    seconds from the command until all jobs of a sweep are queued on Slurm, and the
            launcher's largest memory (the cluster of tests/slurm/cluster.sh is started; the jobs are held)
overhead    seconds from the start of a run's job to the end of its first update, less what the update,
            V*, and evaluation themselves took and less the model's loading; on Slurm and on local processes
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from benchmarks.slurm_here import cluster, missing
from webshop_rl.config import register
from webshop_rl.launching.compose import Composer
from webshop_rl.tracking.rows import read_rows

REPOSITORY = Path(__file__).parents[1]
AIM_S = {4: 3.0, 100: 6.0, 1000: 30.0}
SMALL = ["debug=quick", "vstar.num_samples=1"]


def report(what: str, value: float, unit: str, note: str = "") -> None:
    """One line of the result."""
    print(f"{what:<58} {value:>8.2f} {unit:<4} {note}".rstrip(), flush=True)


def answering() -> None:
    """What a person waits for before anything runs; no torch is imported for it."""
    for arguments in (["--help"], ["--cfg", "job", "--resolve"]):
        took = []
        for _ in range(5):
            began = time.perf_counter()
            command = [sys.executable, "launch.py", *arguments]
            subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
        report(f"launch.py {' '.join(arguments)}, median of 5", statistics.median(took), "s", "aim 1.5 s")


def composing(size: int) -> None:
    """Our way of composing a grid against Hydra's, on the same overrides."""
    register()
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        hydra: Any = GlobalHydra.instance().hydra
        master = hydra.compose_config(
            "config", overrides=["seed=1,2"], run_mode=RunMode.MULTIRUN, with_log_configuration=False
        )
        grid = [[f"algo={a}", f"seed={s}"] for s in range(size // 2) for a in ("apo_sft", "apo_pg")]
        began = time.perf_counter()
        composer = Composer(hydra.config_loader, master)
        for overrides in grid:
            composer.run(overrides)
        ours_s = time.perf_counter() - began
        sample = grid[:20]
        began = time.perf_counter()
        for overrides in sample:
            hydra.config_loader.load_sweep_config(master, overrides)
        theirs_s = (time.perf_counter() - began) / len(sample) * len(grid)
    report(f"compose, check and name {len(grid)} runs", ours_s, "s")
    report(
        "  Hydra's own composition alone, extrapolated from 20", theirs_s, "s", f"{theirs_s / ours_s:.0f} x"
    )


def queueing(sizes: Sequence[int], place: Path) -> None:
    """From the command to all jobs queued, as a user waits for it."""
    for size in sizes:
        command = [sys.executable, "launch.py", "-m", "hardware=slurm_cpu", "hardware.slurm.mem=100M"]
        command += ["+hardware.slurm.sbatch.hold=true", "sweep.wait=false", f"seed=range(0,{size})"]
        began = time.perf_counter()
        subprocess.run(
            [*command, f"root={place / str(size)}"],
            cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - began
        queue = ["squeue", "-h", "-r", "-t", "PENDING", "-o", "%i"]
        queued = subprocess.run(queue, check=True, capture_output=True, text=True)
        assert len(queued.stdout.split()) == size, "not all jobs are queued"
        report(f"{size} jobs queued", seconds, "s", f"aim {AIM_S[size]:g} s" if size in AIM_S else "")
        subprocess.run(["scancel", "-u", str(os.getuid())], check=True)
    memory_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    report(f"launcher's largest memory, {max(sizes)} runs", memory_mb, "MB")


def overhead(place: Path, hardware: str) -> None:
    """A sweep of two real runs at once, on local processes or as jobs of one core each."""
    root, starts = place / hardware, place / f"{hardware}-starts"
    starts.mkdir()
    command = [sys.executable, "launch.py", "-m", *SMALL, "seed=1,2", f"root={root}", f"hardware={hardware}"]
    if hardware.startswith("slurm"):
        note = f"date +%s.%N > {starts}/$SLURM_ARRAY_TASK_ID"  # the job's first breath
        command += ["hardware.slurm.cpus=1", "hardware.slurm.mem=2G", f"hardware.slurm.setup=['{note}']"]
    began = time.time()
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
    whole_s = time.time() - began
    for folder in sorted((root / "runs").iterdir()):
        rows = list(read_rows(folder / "journal.jsonl"))
        metrics = [row for row in rows if row["kind"] == "metrics"]
        first = next(row for row in metrics if row["step"] == 1)
        work = {key: value for row in metrics for key, value in row["metrics"].items() if row["step"] <= 1}
        own_s = sum(work.get(f"time/{name}_s", 0.0) for name in ("update", "vstar", "eval"))
        # Between telling its tags and its first artifact a run imports and builds its model.
        tags = next(k for k, row in enumerate(rows) if row["kind"] == "tags")
        loading_s = (rows[tags + 1]["ts_ms"] - rows[tags]["ts_ms"]) / 1000
        until_s = first["ts_ms"] / 1000 - _start(folder, starts)
        report(f"{hardware}: start of a run to its first update", until_s, "s")
        note = f"aim 6 s; less {loading_s:.1f} s for its model, {own_s:.1f} s for what it computed"
        report("  overhead, beside a run on the other core", until_s - own_s - loading_s, "s", note)
    report(f"{hardware}: the whole sweep of two, command to prompt", whole_s, "s")


def _start(folder: Path, starts: Path) -> float:
    """When the run's job began, or its process was about to be started; seconds since 1970."""
    status = json.loads((folder / "status.json").read_text())
    if not (folder / "job.json").exists():
        return float(status["queued"])
    task = json.loads((folder / "job.json").read_text())["job_id"].partition("_")[2]
    return float((starts / task).read_text())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 100, 1000])
    parser.add_argument("--no-slurm", action="store_true", help="leave the cluster out")
    options = parser.parse_args(arguments)
    place = Path(tempfile.mkdtemp(prefix="launch-speed-"))
    try:
        answering()
        composing(max(options.sizes))
        reason = "not wanted" if options.no_slurm else missing()
        if reason:
            print(f"Slurm left out: {reason}")
        else:
            with cluster():
                queueing(options.sizes, place)
                overhead(place, "slurm_cpu")
        overhead(place, "cpu")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
