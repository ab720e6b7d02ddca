"""How fast the WebShop reproduction is: `python benchmarks/env_speed.py --data-dir DATA_DIR`.

One process, one thread, 1,000 products, the rule policy over whole episodes of the published test goals, each
goal for the first time. Rates and totals are of processor time, so that a busy machine changes little; a
single search, click or purchase is the median of those of other goals. Beside each figure the original's, as
recorded on another machine, and how many times better this is; where that is a range, its better end.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")
START = time.process_time()

import psutil  # noqa: E402

from webshop_rl.cli import command  # noqa: E402
from webshop_rl.envs.scripted import RulePolicy, run_episode  # noqa: E402
from webshop_rl.envs.types import Session, Step  # noqa: E402
from webshop_rl.envs.webshop.shop import WebShop  # noqa: E402

IMPORT_S = time.process_time() - START

# The original on the same 1,000 products, one process (seconds, megabytes or per second).
ORIGINAL = {
    "imports, s": 5.0,
    "memory, MB": 640.0,
    "search, ms": 15.0,
    "click, ms": 11.0,
    "buy, ms": 17.0,
    "env steps a second": 55.0,
    "episodes a second": 14.0,
}
RATES = ("env steps a second", "episodes a second")


class TimedSession:
    """A session that keeps the seconds spent in each sort of action; the policy's own time is not in them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.reset_to = session.reset_to
        self.seconds: dict[str, list[float]] = {"search": [], "click": [], "buy": []}

    def step(self, action: str) -> Step:
        start = time.perf_counter()
        step = self._session.step(action)
        sort = "search" if action.startswith("search") else "buy" if step.terminated else "click"
        self.seconds[sort].append(time.perf_counter() - start)
        return step


def measure(data_dir: str | None, episodes: int) -> dict[str, float]:
    """Figures by name, in the order in which they are printed."""
    start = time.process_time()
    shop = WebShop(data_dir=data_dir, split="published")
    build_s = time.process_time() - start
    memory_mb = psutil.Process().memory_info().rss / 2**20
    goals = shop.goals("test")
    session = shop.session()
    start = time.process_time()
    records = [run_episode(session, RulePolicy(), goals[n % len(goals)], seed=0) for n in range(episodes)]
    seconds = time.process_time() - start
    timed = TimedSession(shop.session())
    for goal in shop.goals("val")[:episodes]:
        run_episode(timed, RulePolicy(), goal, seed=0)
    median_ms = {sort: 1e3 * statistics.median(spent) for sort, spent in timed.seconds.items()}
    return {
        "imports, s": IMPORT_S,
        "building the shop, s": build_s,
        "memory, MB": memory_mb,
        "search, ms": median_ms["search"],
        "click, ms": median_ms["click"],
        "buy, ms": median_ms["buy"],
        "env steps a second": sum(len(record.actions) for record in records) / seconds,
        "episodes a second": episodes / seconds,
        "score of the rule policy": sum(record.score for record in records) / episodes,
        "its success": sum(record.success for record in records) / episodes,
    }


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--data-dir", default=os.environ.get("WEBSHOP_DATA_DIR"), help="folder of the data files"
    )
    parser.add_argument("--episodes", type=int, default=400, help="episodes to act (default: 400)")
    options = parser.parse_args(arguments)
    figures = measure(options.data_dir, options.episodes)
    print(f"{'WebShop, 1,000 products':<28}{'here':>10}{'original':>10}{'times':>8}")
    for name, value in figures.items():
        original = ORIGINAL.get(name)
        if original is None:
            print(f"{name:<28}{value:>10.3f}")
        else:
            times = value / original if name in RATES else original / value
            print(f"{name:<28}{value:>10.3f}{original:>10g}{times:>7.0f}x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
