"""Paired comparison of two policies on the same episodes, with an interval by product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap


@dataclass(frozen=True)
class PairedDifference:
    """Mean difference of scores and its 95 % interval, score units."""

    mean: float
    low: float
    high: float
    num_episodes: int
    num_products: int


def paired_difference(
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
    *,
    num_resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Score of one policy minus another's on the same goals, bootstrapped over products.

    Goals of one product resemble each other, so products are resampled, not goals: the statistic is
    the ratio of sums over the products drawn. Percentile interval.

    Args:
        ours, theirs: episode records (evaluation.episode_record) of the same goals in the same order.
        num_resamples: bootstrap resamples.
        seed: of the resampling.
    Raises: ValueError if the episodes are not paired.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
    """
    if [(e["goal"], e["sample"]) for e in ours] != [(e["goal"], e["sample"]) for e in theirs]:
        raise ValueError("episodes are not paired: goals or samples differ")
    by_product: dict[str, list[float]] = {}
    for a, b in zip(ours, theirs, strict=True):
        by_product.setdefault(a["asin"], []).append(a["score"] - b["score"])
    sums = np.array([sum(values) for values in by_product.values()])
    counts = np.array([len(values) for values in by_product.values()], dtype=float)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        # Nothing varies between products: resampling would give a point, which says too much with one.
        spread = (mean, mean) if len(sums) > 1 else (float("-inf"), float("inf"))
        return PairedDifference(mean, *spread, len(ours), len(sums))
    found = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=num_resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return PairedDifference(mean, float(interval.low), float(interval.high), len(ours), len(sums))
