"""A sweep under fire: `python -m benchmarks.slurm_drill [--faults 30] [--runs 8] [--seed 0]`.

Two sweeps of the same tiny runs on the cluster of tests/slurm/cluster.sh, each with an MLflow server
and a root of its own: one is left in peace, the other suffers faults at random moments. Then it must
hold, else the exit code is 1:

  - every run is finished, and the launcher that waited says so;
  - the metric histories in MLflow are those of the peaceful sweep, wall-clock metrics aside;
  - no (run, metric, step) stands twice in MLflow's database;
  - updates executed <= updates needed + faults x checkpoint interval.

Needs root and Debian's slurm-wlm and munge (tests/slurm/install.sh): exit code 2 without.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.slurm_faults import Faults, Tracker, free_port
from benchmarks.slurm_here import cluster
from webshop_rl.errors import EXIT_BAD_INPUT, UserError
from webshop_rl.tracking.names import is_wall_clock

REPOSITORY = Path(__file__).parents[1]
CHECKPOINT_EVERY = 3
LONGEST_S = 1200
TINY = [
    "model.hidden_size=32",
    "model.num_layers=2",
    "algo.goals_per_update=2",
    "algo.group_size=4",
    "vstar.num_samples=2",
    f"checkpoint.every={CHECKPOINT_EVERY}",
    "evaluation.every=10",
    "evaluation.val_episodes=5",
    "evaluation.test_episodes=5",
    "hardware=slurm_cpu",
    "hardware.slurm.cpus=1",
    "hardware.slurm.mem=2G",
    "hardware.slurm.array_parallelism=3",
    "hardware.restarts=5",
]
History = set[tuple[str, int, float]]


def launch(root: Path, tracker: Tracker, runs: int, updates: int) -> subprocess.Popen[bytes]:
    """Start the sweep; its launcher waits for the end."""
    log = (root.parent / f"{root.name}.log").open("wb")
    command = [sys.executable, "launch.py", "-m", *TINY, f"num_updates={updates}", f"root={root}"]
    command += [f"tracking.uri={tracker.uri}", f"seed=range(0,{runs})", "sweep.name=drill"]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)


def strike(
    launcher: subprocess.Popen[bytes],
    faults: Faults,
    chance: random.Random,
    root: Path,
    options: argparse.Namespace,
) -> Counter[str]:
    """Do the faults, each at a random moment; returns how many of each kind.

    On a fast machine, at the latest when its share of all updates is done.
    """
    count, updates = options.faults, options.runs * options.updates
    done: Counter[str] = Counter()
    # In rounds of all kinds; which of a round comes when, and whom it hits, is chance.
    kinds: list[str] = []
    while len(kinds) < count:
        kinds += chance.sample(list(faults.kinds), len(faults.kinds))
    next_s = time.monotonic() + options.gap_s
    deadline = time.monotonic() + LONGEST_S
    while launcher.poll() is None and time.monotonic() < deadline:
        faults.repair()
        num_done = sum(done.values())
        due = time.monotonic() >= next_s or reached(root) > updates * (num_done + 1) / (count + 1)
        if num_done < count and due and (victim := faults.victim()):
            kind = kinds[sum(done.values())]
            faults.kinds[kind](victim)
            done[kind] += 1
            print(
                f"fault {sum(done.values()):>2}: {kind} on {victim.folder.name} ({victim.node})", flush=True
            )
            next_s = time.monotonic() + chance.expovariate(1 / options.gap_s)
        time.sleep(0.2)
    faults.repair(all_of_it=True)
    if launcher.poll() is None:
        print(f"the sweep did not end in {LONGEST_S} s", flush=True)
        launcher.terminate()
        launcher.wait()
    return done


def histories(database: Path) -> tuple[dict[str, History], int]:
    """(histories by signature, wall-clock metrics aside; rows that stand twice) of an MLflow database."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        signatures = dict(connection.execute("select run_uuid, value from tags where key = 'signature'"))
        rows = connection.execute("select run_uuid, key, step, value from metrics").fetchall()
    found: dict[str, History] = {signature: set() for signature in signatures.values()}
    for run, key, step, value in rows:
        if not is_wall_clock(key):
            found[signatures[run]].add((key, step, value))
    places = Counter((run, key, step) for run, key, step, _ in rows)
    return found, sum(count - 1 for count in places.values())


def executed(root: Path) -> int:
    """Updates that were executed, again ones included."""
    return sum(len(path.read_text().split()) for path in (root / "runs").glob("*/updates.log"))


def reached(root: Path) -> int:
    """Updates that the runs have got to, all together."""
    logs = [path.read_text().split() for path in (root / "runs").glob("*/updates.log")]
    return sum(int(log[-1]) for log in logs if log)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faults", type=int, default=30)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--gap-s", type=float, default=8.0, help="mean seconds between two faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder to keep the roots in")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped, too
    try:
        with cluster() as folder:
            return 0 if drill(options, folder) else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT


def drill(options: argparse.Namespace, cluster_folder: Path) -> bool:
    """Both sweeps, one after the other; whether all that must hold does."""
    began = time.monotonic()
    place = options.keep or Path(tempfile.mkdtemp(prefix="drill-"))
    place.mkdir(parents=True, exist_ok=True)
    chance = random.Random(options.seed)
    peaceful, fired = place / "peaceful", place / "fired"
    trackers = [Tracker(peaceful, free_port()), Tracker(fired, free_port())]
    try:
        for tracker in trackers:
            tracker.start()
        calm = launch(peaceful, trackers[0], options.runs, options.updates)
        calm.wait()
        print(f"the peaceful sweep took {time.monotonic() - began:.0f} s", flush=True)
        faults = Faults(cluster_folder, fired, trackers[1], chance)
        launcher = launch(fired, trackers[1], options.runs, options.updates)
        while launcher.poll() is None and not (fired / "runs").is_dir():
            time.sleep(0.2)
        done = strike(launcher, faults, chance, fired, options)
        passed = _verdict(peaceful, fired, (calm.returncode, launcher.returncode), done, options)
        print(f"{'passed' if passed else 'FAILED'} in {time.monotonic() - began:.0f} s")
        return passed
    finally:
        for tracker in trackers:
            tracker.stop()
        if options.keep is None:
            shutil.rmtree(place, ignore_errors=True)


def _verdict(
    peaceful: Path, fired: Path, codes: tuple[int, int], done: Counter[str], options: argparse.Namespace
) -> bool:
    for root in (peaceful, fired):
        sync = [sys.executable, "-m", "webshop_rl.tracking.sync", str(root)]
        subprocess.run(sync, cwd=REPOSITORY, check=False, stdout=subprocess.DEVNULL)
    expected, twice_before = histories(peaceful / "mlflow.db")
    found, twice = histories(fired / "mlflow.db")
    num_faults = sum(done.values())
    needed = options.runs * options.updates
    limit = needed + num_faults * CHECKPOINT_EVERY
    updates = executed(fired)
    differing = sorted(s for s in expected.keys() | found.keys() if expected.get(s) != found.get(s))
    checks = {
        f"both launchers ended with 0: {codes}": codes == (0, 0),
        f"{num_faults} faults of {options.faults} were done: {dict(done)}": num_faults == options.faults,
        f"{len(found)} of {options.runs} runs are in MLflow": len(found) == len(expected) == options.runs,
        f"{len(differing)} runs differ from the peaceful sweep {differing}": not differing,
        f"{sum(map(len, expected.values()))} values compared": bool(expected),
        f"{twice_before + twice} rows stand twice": twice_before + twice == 0,
        f"{updates} updates executed, {needed} needed, at most {limit} allowed": updates <= limit,
    }
    for words, holds in checks.items():
        print(f"{'ok  ' if holds else 'FAIL'} {words}")
    return all(checks.values())


if __name__ == "__main__":
    raise SystemExit(main())
