"""How many seeds more would settle what a sweep leaves open."""

from __future__ import annotations

import math
from statistics import NormalDist, variance

from webshop_rl.statistics import CONFIDENCE, seeds_needed

from .comparison import Comparison, Pair

_POWER = 0.8
MOST_SEEDS = 30  # more than that is no advice: the difference is as good as none


def seeds_to_settle(pair: Pair, comparison: Comparison) -> int | None:
    """Finished seeds an arm with which a difference of this size would be found 8 times in 10.

    N = (z_{1-α/2k} + z_{0.8})² (s_a² + s_b²) / d², of k pairs compared, and no fewer than the permutation
    test needs to distinguish anything.

    Returns: None with a single seed, without a difference, or above MOST_SEEDS.
    Source: the normal approximation of two-sample power, e.g. Cohen, 1988, chapter 2.
    """
    ours, theirs = pair.high.scores(comparison.metric), pair.low.scores(comparison.metric)
    gap = pair.over_seeds.value
    if min(len(ours), len(theirs)) < 2 or gap <= 0:
        return None
    normal = NormalDist()
    k = max(1, comparison.num_pairs)
    z = normal.inv_cdf(1 - (1 - CONFIDENCE) / 2 / k) + normal.inv_cdf(_POWER)
    by_power = math.ceil(z**2 * (variance(ours) + variance(theirs)) / gap**2)
    num = max(by_power, seeds_needed(k))
    return num if num <= MOST_SEEDS else None


def seed_advice(pair: Pair, comparison: Comparison) -> str:
    """What would settle a pair, in a clause; "" if it is settled."""
    if pair.differs:
        return ""
    fewest = min(len(pair.high.finished), len(pair.low.finished))
    if fewest < 2:
        missing = seeds_needed(max(1, comparison.num_pairs)) - fewest
        return f"{_more(missing)} are the fewest that could settle it"
    num = seeds_to_settle(pair, comparison)
    if num is None:
        return f"not even {MOST_SEEDS} seeds an arm would settle so small a difference"
    if num <= fewest:
        return "a few more seeds an arm may settle it"
    return f"{_more(num - fewest)} would settle it, if the difference stays as it is"


def _more(num: int) -> str:
    return f"{num} more seed{'s' if num > 1 else ''} an arm"
