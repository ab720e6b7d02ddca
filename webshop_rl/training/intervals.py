"""Means over episodes with intervals by product, of one policy or of the difference of two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A mean over episodes and its 95 % interval, in the unit of the values; infinite with one product."""

    mean: float
    low: float
    high: float
    num_episodes: int
    num_products: int


def product_interval(
    values: Sequence[float], products: Sequence[str], *, num_resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Mean of a value per episode, bootstrapped over products.

    Goals of one product resemble each other, so products are resampled, not goals: the statistic is
    the ratio of sums over the products drawn. Percentile interval.

    Args:
        values: one an episode.
        products: the product of each episode.
        num_resamples: bootstrap resamples.
        seed: of the resampling.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
    """
    by_product: dict[str, list[float]] = {}
    for value, product in zip(values, products, strict=True):
        by_product.setdefault(product, []).append(float(value))
    sums = np.array([sum(members) for members in by_product.values()])
    counts = np.array([len(members) for members in by_product.values()], dtype=float)
    mean = float(sums.sum() / counts.sum())
    if len(sums) < 2 or np.ptp(sums / counts) == 0:
        # Nothing varies between products: resampling would give a point, which says too much with one.
        spread = (mean, mean) if len(sums) > 1 else (float("-inf"), float("inf"))
        return Interval(mean, *spread, len(values), len(sums))
    from scipy.stats import bootstrap  # half a second, and not before a run's end

    found = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=num_resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), len(values), len(sums))


def record_interval(records: Sequence[Mapping[str, Any]], name: str) -> Interval:
    """Mean of "score", "success" or "return" of recorded episodes (evaluation.episode_record), by product."""
    return product_interval([float(record[name]) for record in records], [r["asin"] for r in records])


def paired_difference(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> Interval:
    """Score of one policy minus another's on the same goals, by product.

    Args:
        ours, theirs: episode records (evaluation.episode_record) of the same goals in the same order.
    Raises: ValueError if the episodes are not paired.
    """
    if [(e["goal"], e["sample"]) for e in ours] != [(e["goal"], e["sample"]) for e in theirs]:
        raise ValueError("episodes are not paired: goals or samples differ")
    differences = [a["score"] - b["score"] for a, b in zip(ours, theirs, strict=True)]
    return product_interval(differences, [e["asin"] for e in ours])
