"""How long `webshop-rl report` takes for a large sweep, and its peak memory.

    python -m benchmarks.report_speed

A sweep of 1,000 runs (200 arms of 5 seeds) is written to a sqlite file of MLflow, each run with 20 metrics
of 500 points, final metrics, and tables of 100 test goals; then the command reports it, reading that file
alone. The file takes longer to write than to report. Records of episodes are not part of it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from webshop_rl.tracking.client import connect
from webshop_rl.tracking.config import default_uri
from webshop_rl.tracking.database import create_database

SEEDS = 5
NUM_GOALS = 100
# What figures are drawn of, then what else a run logs each update.
CURVES = (
    "val/success",
    "train/return_mean",
    "vstar/mean",
    "algo/advantage_std",
    "optim/grad_norm",
    "time/train_s",
    "time/gpu_hours",
    "train/episodes",
    "train/env_steps",
    "train/tokens",
)
TARGET_S, TARGET_MB = 30.0, 2048.0


def main() -> int:
    """Exit code 1 if the report takes longer, or more memory, than it may; 2 if it cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report_speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, default in (("runs", 1000), ("metrics", 20), ("points", 500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where the sweep is kept, and found again"
    )
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        root = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (root / "mlflow.db").exists():
            began = time.perf_counter()
            write_sweep(root.resolve(), options.runs, options.metrics, options.points)
            print(f"written in {time.perf_counter() - began:.1f} s", flush=True)
        return report(root, f"{options.runs} runs x {options.metrics} metrics x {options.points} points")


def report(root: Path, what: str) -> int:
    """Run the command and print what it took."""
    command = [sys.executable, "-m", "analysis.report", "--sweep", "large", "--out", str(root / "report")]
    command += ["--tracking-uri", default_uri(root.resolve())]
    began = time.perf_counter()
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak_mb = used.ru_maxrss / 1024
    print(f"{what}: {seconds:.1f} s (of CPU {used.ru_utime + used.ru_stime:.1f} s), peak {peak_mb:.0f} MB")
    print(f"aim at 1,000 runs: {TARGET_S:.0f} s, {TARGET_MB:.0f} MB")
    if done.returncode:
        return 2
    return int(seconds > TARGET_S or peak_mb > TARGET_MB)


def write_sweep(root: Path, num_runs: int, num_metrics: int, num_points: int) -> None:
    """A finished sweep "large" in <root>/mlflow.db, by MLflow's own tables: its client takes hours for it."""
    root.mkdir(parents=True, exist_ok=True)
    database = root / "mlflow.db"
    create_database(database)
    client = connect(default_uri(root), timeout_s=30.0, retries=1)
    experiment = client.create_experiment("webshop-rl", artifact_location=(root / "mlartifacts").as_uri())
    parent = client.create_run(experiment, run_name="large", tags={"sweep": "large"})
    client.set_tag(parent.info.run_id, "webshop_rl.sweep_uid", "0/large")
    client.set_terminated(parent.info.run_id)
    with contextlib.closing(sqlite3.connect(database)) as connection, _without_indices(connection):
        _write_points(connection, num_runs, num_metrics, num_points)
        for number in range(num_runs):
            run_id = f"{number:032x}"
            reached = _reached(number, num_runs)
            place = root / "mlartifacts" / run_id
            _insert_run(connection, experiment, parent.info.run_id, run_id, number, place)
            finals = _finals(reached)
            latest = [(key, value, 0, num_points, 0, run_id) for key, value in finals.items()]
            latest += [(key, 1.0, 0, num_points, 0, run_id) for key in _names(num_metrics)]
            connection.executemany("insert into latest_metrics values (?, ?, ?, ?, ?, ?)", latest)
            for name, score in (("test", reached), ("untrained", 0.1), ("baseline_rule", 0.4)):
                _write_table(place / "artifacts" / "tables" / f"{name}.json", score, number)


@contextlib.contextmanager
def _without_indices(connection: sqlite3.Connection) -> Iterator[None]:
    """The indices of metrics are made when all is there, which takes a fraction of keeping them."""
    connection.execute("pragma synchronous = off")
    connection.execute("pragma cache_size = -1000000")
    connection.execute("pragma temp_store = memory")
    query = "select name, sql from sqlite_master where type = 'index' and tbl_name = 'metrics' and sql != ''"
    indices = connection.execute(query).fetchall()
    for name, _ in indices:
        connection.execute(f"drop index {name}")
    with connection:
        yield
    for _, sql in indices:
        connection.execute(sql)


def _write_points(connection: sqlite3.Connection, num_runs: int, num_metrics: int, num_points: int) -> None:
    """The curves of SEEDS runs are drawn; the others are copies, each shifted by a little."""
    # "or fail" spares the journal of a statement, which is many times what is written.
    copied = (
        "insert or fail into metrics select key, value + ?, timestamp, ?, step, 0 from metrics where rowid"
    )
    size = num_metrics * num_points
    for number in range(num_runs):
        run_id = f"{number:032x}"
        if number < SEEDS:
            rows = _points(run_id, number, num_metrics, num_points)
            connection.executemany("insert into metrics values (?, ?, ?, ?, ?, 0)", rows)
        else:
            first = 1 + number % SEEDS * size
            connection.execute(f"{copied} between ? and ?", (1e-4 * number, run_id, first, first + size - 1))


def _reached(number: int, num_runs: int) -> float:
    arm = number // SEEDS
    noise = np.random.default_rng(number).normal(0, 0.05)
    return float(np.clip(0.2 + 0.6 * arm * SEEDS / num_runs + noise, 0, 1))


def _names(num_metrics: int) -> list[str]:
    return [*CURVES, *(f"algo/other_{i}" for i in range(num_metrics - len(CURVES)))][:num_metrics]


def _points(run_id: str, number: int, num_metrics: int, num_points: int) -> Iterator[tuple[object, ...]]:
    noise = np.random.default_rng(number).normal(0, 0.05, (num_metrics, num_points))
    for name, own in zip(_names(num_metrics), noise, strict=True):
        for step, value in enumerate(own, 1):
            yield name, 0.5 * step / num_points + float(value), 1000 * step, run_id, step


def _finals(reached: float) -> dict[str, float]:
    found = {}
    for name, score in (("test", reached), ("untrained", 0.1), ("baseline/rule", 0.4)):
        found |= {f"{name}/success": score, f"{name}/score": score}
    return found


def _insert_run(
    connection: sqlite3.Connection, experiment: str, parent: str, run_id: str, number: int, place: Path
) -> None:
    row = (run_id, run_id[-6:], "LOCAL", "", "", "x", "FINISHED", number, number, "", "active")
    row += ((place / "artifacts").as_uri(), int(experiment), None)
    connection.execute(f"insert into runs values ({', '.join('?' * len(row))})", row)
    arm, seed = divmod(number, SEEDS)
    params = {
        "algo.name": ("apo_pg", "apo_sft", "ppo", "grpo")[arm % 4],
        "lr": f"{1e-6 * (arm // 4 + 1):g}",
        "seed": str(seed),
        "num_updates": "500",
        "env.name": "webshop",
        "env.split": "product",
        "evaluation.test_episodes": str(NUM_GOALS),
        "evaluation.seed": "1000",
        **{f"optim.key_{i}": "0" for i in range(60)},  # a run of the platform has about 80
    }
    connection.executemany("insert into params values (?, ?, ?)", [(k, v, run_id) for k, v in params.items()])
    tags = {
        "mlflow.parentRunId": parent,
        "signature": run_id[-12:],
        "folder": f"/nowhere/runs/{run_id[-12:]}",
        "sweep": "large",
        "split_digest": "d1",
        "data_digest": "d1",
        "code_digest": "c0de",
    }
    connection.executemany("insert into tags values (?, ?, ?)", [(k, v, run_id) for k, v in tags.items()])


def _write_table(path: Path, score: float, number: int) -> None:
    rng = np.random.default_rng(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = ["goal", "asin", "instruction", "episodes", "success", "score"]
    rows = [
        [f"g{i}", f"B{i:09}", f"goal {i}", 1, float(rng.random() < score), score] for i in range(NUM_GOALS)
    ]
    path.write_text(json.dumps({"columns": columns, "data": rows}))


if __name__ == "__main__":
    raise SystemExit(main())
