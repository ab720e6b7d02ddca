"""How the WebShop environment grows with its catalogue: `python -m benchmarks.env_growth WORK --data-dir D`.

For each size a catalogue with the real one's statistics is made and prepared in the folder WORK (kept, and
used again), opened in a fresh process, searched with instructions never searched before, and played by the
rule policy. Some searches are made once more by scoring every document: what that takes, and how many
rankings are other ones (none may be). The figures are those of a second process that does the same while the
first still has it open. Seconds are processor time of one thread; of preparing, of all its processes, with
the largest one's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import psutil

from benchmarks.make_catalogue import write
from webshop_rl.cli import command
from webshop_rl.envs.scripted import RulePolicy, run_episode
from webshop_rl.envs.webshop import files, search
from webshop_rl.envs.webshop.prepared import MANIFEST, is_prepared
from webshop_rl.envs.webshop.shop import WebShop

SEARCHES = 200
EPISODES = 200
CHECKED = 50  # of the searches, beside scoring every document
PREPARING = "preparing.json"


def make(work: Path, data_dir: Path, size: int) -> Path:
    """The prepared folder of a size; what preparing it cost is written beside it."""
    folder = work / str(size)
    if not is_prepared(folder / "prepared"):
        write(data_dir, folder, size, seed=0)
        subprocess.run(
            [sys.executable, "-m", "webshop_rl.envs.prepare", "--data-dir", str(folder)], check=True
        )
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        cost = {"prepare, s": spent.ru_utime + spent.ru_stime, "prepare, MB": spent.ru_maxrss / 1024}
        (folder / PREPARING).write_text(json.dumps(cost))
    return folder / "prepared"


def measure(folder: Path) -> dict[str, float]:
    """Figures of one fresh process, by name."""
    num_records = json.loads((folder / MANIFEST).read_text())["num_records"]
    start = time.process_time()
    shop = WebShop(data_dir=str(folder), num_products=num_records)
    shop.goals("train")
    open_s = time.process_time() - start
    goals = shop.goals("test")
    spread = [goals[place] for place in np.linspace(0, len(goals) - 1, SEARCHES + EPISODES).astype(int)]
    hits, searches = _searched(shop, [goal.instruction for goal in spread[:SEARCHES]])
    session = shop.session()
    start = time.process_time()
    num_steps = sum(
        len(run_episode(session, RulePolicy(), goal, seed=0).actions) for goal in spread[SEARCHES:]
    )
    rate = num_steps / (time.process_time() - start)
    private = _private_mb()
    search.FEW_POSTINGS = sys.maxsize
    # The same words in another string, which no earlier search answers.
    exhaustive, seconds = _searched(shop, [f"{goal.instruction} " for goal in spread[:CHECKED]])
    return {
        "open, s": open_s,
        "search p50, ms": float(np.median(searches)),
        "search p99, ms": float(np.quantile(searches, 0.99)),
        "scoring all p50, ms": float(np.median(seconds)),
        "rankings unlike that": float(sum(a != b for a, b in zip(hits, exhaustive, strict=False))),
        "steps a second": rate,
        "private, MB": private,
    }


def _searched(shop: WebShop, queries: Sequence[str]) -> tuple[list[list[tuple[str, float]]], list[float]]:
    """The hits of each query, and the milliseconds it took."""
    hits, spent = [], []
    for query in queries:
        start = time.process_time()
        hits.append(shop.hits(query))
        spent.append(1e3 * (time.process_time() - start))
    return hits, spent


def _private_mb() -> float:
    """Memory of this process that no other shares."""
    return psutil.Process().memory_full_info().uss / 2**20


def row(folder: Path) -> dict[str, float]:
    """Figures of a second process, while a first one has the catalogue open."""
    program = [sys.executable, "-m", "benchmarks.env_growth", str(folder), "--measure"]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        first.stdout.readline()
        second = subprocess.run(program, input="", capture_output=True, text=True, check=True)
        first.communicate("")
    return {key: float(value) for key, value in json.loads(second.stdout.splitlines()[0]).items()}


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder for the catalogues: 4 KB a product")
    parser.add_argument("--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="the real 1,000")
    parser.add_argument("--sizes", default="1000,10000,100000", help="numbers of products, or 1180000 too")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure(options.work)), flush=True)
        sys.stdin.read()
        return 0
    rows = {}
    for size in map(int, options.sizes.split(",")):
        folder = make(options.work, files.data_folder(options.data_dir), size)
        rows[size] = row(folder)
        cost = options.work / str(size) / PREPARING
        if cost.is_file():
            rows[size] |= json.loads(cost.read_text())
        rows[size]["on disk, MB"] = sum(json.loads((folder / MANIFEST).read_text())["files"].values()) / 1e6
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    print("| products | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for size, found in rows.items():
        cells = [f"{found[name]:,.4g}" if name in found else "-" for name in names]
        print(f"| {size:,} | " + " | ".join(cells) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
