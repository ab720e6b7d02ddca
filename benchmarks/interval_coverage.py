"""How often a 95 % interval over seeds covers the truth: `python -m benchmarks.interval_coverage`.

Draws the scores of N runs again and again, from distributions whose mean is known, and counts how often the
interval that the report would give (webshop_rl.statistics.over_seeds) contains it:

normal      a run's score is normal
bimodal     30 % of runs collapse: normal about .05 (standard deviation .02), else about .9 (.05)
difference  of the means of two arms of N runs each, both normal or both bimodal

docs/analysis.md has the table; the standard error of a figure is sqrt(c (1 - c) / repetitions), at most .011
for 2,000. Some ten minutes with the defaults.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.random import Generator

from webshop_rl.statistics import Floats, difference, mean, over_seeds

COLLAPSED_FRAC = 0.3
COLLAPSED, LEARNT = (0.05, 0.02), (0.9, 0.05)  # mean and standard deviation of a run's score
NUM_RUNS = (2, 3, 4, 5, 6, 8, 10, 20)


def normal(rng: Generator, num: int) -> Floats:
    """Scores of runs that differ by a little, mean 0."""
    return rng.normal(size=num)


def bimodal(rng: Generator, num: int) -> Floats:
    """Scores of runs that either collapse or learn, less their mean .3 x .05 + .7 x .9."""
    collapsed = rng.random(num) < COLLAPSED_FRAC
    scores = np.where(collapsed, rng.normal(*COLLAPSED, size=num), rng.normal(*LEARNT, size=num))
    return scores - (COLLAPSED_FRAC * COLLAPSED[0] + (1 - COLLAPSED_FRAC) * LEARNT[0])


def coverage(
    draw: Callable[[Generator, int], Floats], num_runs: int, *, num_arms: int, repetitions: int, seed: int = 0
) -> float:
    """Share of intervals of the mean (one arm) or of the difference of two arms that contain the truth, 0.

    Args:
        draw: num_runs scores whose mean is 0.
        num_arms: 1 or 2.
        repetitions: intervals made.
        seed: of the scores; an interval's resampling is seeded with its number.
    """
    rng = np.random.default_rng([seed, num_runs, num_arms])
    statistic = difference if num_arms == 2 else mean
    covered = 0
    for repetition in range(repetitions):
        found = over_seeds(statistic, *(draw(rng, num_runs) for _ in range(num_arms)), seed=repetition)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0 <= found.high
    return covered / repetitions


def main(arguments: Sequence[str]) -> int:
    """Print the table, one line a distribution."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--runs", type=int, nargs="+", default=list(NUM_RUNS), help="runs an arm")
    options = parser.parse_args(arguments)
    print("a 95 % interval covers, %, with runs an arm of" + "".join(f"{n:6d}" for n in options.runs))
    for num_arms, what in ((1, "mean"), (2, "difference")):
        for draw in (normal, bimodal):
            print(f"{what + ', ' + draw.__name__:50s}", end="", flush=True)
            for num_runs in options.runs:
                share = coverage(draw, num_runs, num_arms=num_arms, repetitions=options.repetitions)
                print(f"{100 * share:6.0f}", end="", flush=True)
            print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
