"""Means, intervals and comparisons over seeds and over goals; pure functions on arrays. No torch.

Two questions, kept apart: would another *seed* give the same (runs are resampled), and would other
*goals* of the kind (products are resampled, for goals of one product resemble each other).
All intervals are percentile bootstraps, as in rliable, at CONFIDENCE. scipy takes half a second to import,
so each function that computes with it imports it.
Source: Agarwal et al., Deep RL at the Edge of the Statistical Precipice, arXiv:2108.13264;
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8 and 13.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
NUM_RESAMPLES = 10_000
# An interval over fewer products, weighted by their episodes, is rough; one of a lower rate is narrower
# than it should be (docs/analysis.md).
FEW_PRODUCTS = 20
LOW_RATE = 0.1
_BATCH = 500  # resamples at once: bounds memory
_ENDS = 50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)  # percentiles
_FEW_RUNS = 20  # of an arm, up to which the draws of all resamples are kept (1.6 MB)
_FEW_UNITS = 500  # up to which the draws of all resamples are kept as one matrix (40 MB)

Floats = NDArray[np.float64]
Numbers = Floats | Sequence[float]
Statistic = Callable[..., Any]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        low, high: ends of the interval, or None where nothing can be resampled (one seed, one product).
        num: how many were resampled: seeds (both arms' together) or products.
    """

    value: float
    low: float | None
    high: float | None
    num: int

    @property
    def above(self) -> bool:
        """Whether the whole interval is above 0."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval is below 0."""
        return self.high is not None and self.high < 0

    @property
    def pointlike(self) -> bool:
        """Whether there is an interval without width: nothing varied, which is no certainty."""
        return self.low is not None and self.low == self.high


def interval(estimate: Estimate | None, *, signed: bool = False, digits: int = 3) -> str:
    """`0.812 [0.780, 0.840]`, or the value alone where there is no interval."""
    if estimate is None:
        return "-"
    sign = "+" if signed else ""
    # Adding 0.0 makes of a rounded -0.0 a 0.0.
    value, low, high = (
        None if x is None else f"{round(x, digits) + 0.0:{sign}.{digits}f}"
        for x in (estimate.value, estimate.low, estimate.high)
    )
    return str(value) if low is None else f"{value} [{low}, {high}]"


def mean(*strata: Numbers, axis: int = -1) -> Any:
    """Mean over the strata's means."""
    return sum(np.mean(s, axis=axis) for s in strata) / len(strata)


def iqm(*strata: Numbers, axis: int = -1) -> Any:
    """Interquartile mean of all scores together: a quarter is cut at each end (none of fewer than 4)."""
    from scipy.stats import trim_mean

    return trim_mean(np.concatenate([np.asarray(s) for s in strata], axis=axis), 0.25, axis=axis)


def difference(ours: Numbers, theirs: Numbers, axis: int = -1) -> Any:
    """Mean of ours minus mean of theirs."""
    return np.mean(ours, axis=axis) - np.mean(theirs, axis=axis)


def improvement(ours: Numbers, theirs: Numbers, axis: int = -1) -> Any:
    """Chance that a run of ours scores above a run of theirs; a tie counts half.

    P = 1/(N M) Σ_n Σ_m [x_n > y_m] + ½ [x_n = y_m]
    """
    x = np.expand_dims(np.moveaxis(np.asarray(ours), axis, -1), -1)
    y = np.expand_dims(np.moveaxis(np.asarray(theirs), axis, -1), -2)
    return np.mean((x > y) + 0.5 * (x == y), axis=(-2, -1))


def over_seeds(statistic: Statistic, *strata: Numbers, seed: int = 0) -> Estimate:
    """A statistic of runs, each stratum resampled apart from the others (stratified bootstrap).

    Args:
        statistic: of one array a stratum and `axis`: mean, iqm, difference, improvement.
        strata: [N_s] scores of the runs of one arm (for a comparison) or of one task each.
        seed: of the resampling.
    Returns: without interval if a stratum has a single run.
    Raises: ValueError if a stratum is empty or holds a value that is not finite.
    """
    samples = [np.asarray(s, dtype=float) for s in strata]
    if any(len(s) == 0 or not np.isfinite(s).all() for s in samples):
        raise ValueError("a stratum is empty or not finite")
    num = sum(len(s) for s in samples)
    value = float(statistic(*samples, axis=-1))
    if any(len(s) < 2 for s in samples):
        return Estimate(value, None, None, num)
    if all((s == s[0]).all() for s in samples):
        return Estimate(value, value, value, num)
    low, high = _interval(statistic, tuple(tuple(s.tolist()) for s in samples), seed)
    return Estimate(value, low, high, num)


@functools.lru_cache(maxsize=10_000)
def _interval(statistic: Statistic, strata: tuple[tuple[float, ...], ...], seed: int) -> tuple[float, float]:
    """Ends of the interval; a report asks for that of the same runs in several tables."""
    samples = [np.array(stratum) for stratum in strata]
    sizes = tuple(map(len, samples))
    if max(sizes) > _FEW_RUNS:
        return _percentiles(samples, statistic, paired=False, seed=seed)
    resampled = [own[drawn] for own, drawn in zip(samples, _drawn(sizes, seed), strict=True)]
    low, high = np.percentile(statistic(*resampled, axis=-1), _ENDS)
    return float(low), float(high)


@functools.lru_cache(maxsize=8)
def _drawn(sizes: tuple[int, ...], seed: int) -> list[NDArray[np.int64]]:
    """Which runs of each stratum are drawn in each resample: of every stratum [NUM_RESAMPLES, its size].

    scipy.stats.bootstrap takes longer to call than to compute.
    """
    batches = list(_batches(sizes, NUM_RESAMPLES, seed))
    return [np.concatenate(own) for own in zip(*batches, strict=True)]


def _batches(sizes: Sequence[int], num_resamples: int, seed: int) -> Iterator[list[NDArray[np.int64]]]:
    """The draws of scipy.stats.bootstrap with this seed, _BATCH resamples after the other.

    Yields: for each stratum [at most _BATCH, its size], which of its units are drawn.
    """
    rng = np.random.default_rng(seed)
    for first in range(0, num_resamples, _BATCH):
        num = min(_BATCH, num_resamples - first)
        yield [rng.integers(0, size, (num, size)) for size in sizes]


def over_products(
    values: Numbers,
    weights: Numbers,
    products: Sequence[str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Weighted mean over goals, whole products resampled: Σ w v / Σ w over the products drawn.

    Args:
        values: [G] of each goal: a score, or a difference of two policies' scores.
        weights: [G] episodes of each goal.
        products: [G] its product (ASIN). Goals of one product resemble each other.
        num_resamples: bootstrap resamples.
        seed: of the resampling.
    Returns: without interval if there is a single product.
    Raises: ValueError if there is no goal.
    """
    v, w = np.asarray(values, dtype=float), np.asarray(weights, dtype=float)
    if len(v) == 0:
        raise ValueError("no goals")
    names, index = np.unique(np.asarray(products, dtype=str), return_inverse=True)
    sums: Floats = np.bincount(index, weights=v * w).astype(float)
    counts: Floats = np.bincount(index, weights=w).astype(float)
    value = float(sums.sum() / counts.sum())
    if len(names) < 2:
        return Estimate(value, None, None, len(names))
    if np.ptp(sums / counts) < 1e-12:
        return Estimate(value, value, value, len(names))
    if len(names) <= _FEW_UNITS:
        draws = _draws(len(names), num_resamples, seed)
        low, high = np.percentile((draws @ sums) / (draws @ counts), _ENDS)
    else:
        low, high = _percentiles([sums, counts], _ratio, paired=True, num_resamples=num_resamples, seed=seed)
    return Estimate(value, float(low), float(high), len(names))


def effective_products(products: Sequence[str], weights: Numbers | None = None) -> float:
    """How many products of equal weight say as much as these: 1 / Σ w², w a product's share.

    Args:
        products: [N] the product of each episode or goal.
        weights: [N] episodes of each; one each if None.
    Source: Kish, Survey Sampling, 1965.
    """
    if not len(products):
        return 0.0
    _, index = np.unique(np.asarray(products, dtype=str), return_inverse=True)
    counts = np.bincount(index, weights=weights)
    return float(counts.sum() ** 2 / np.sum(counts**2))


def in_effect(num_products: int, effective: float) -> str:
    """`4 products`, or `4 products (in effect 2.3)` where some weigh much more than others."""
    weights = "" if effective > num_products - 0.5 else f" (in effect {effective:.1f})"
    return f"{num_products} products{weights}"


def permutation_p(ours: Numbers, theirs: Numbers, *, seed: int = 0) -> float:
    """Two-sided p of the difference of means when runs are dealt to the two arms at random.

    Exact while there are at most NUM_RESAMPLES ways to deal them, sampled beyond that.
    """
    x, y = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    if np.ptp(np.concatenate([x, y])) < 1e-12:
        return 1.0
    from scipy.stats import permutation_test

    found = permutation_test(
        (x, y),
        difference,
        vectorized=True,
        n_resamples=NUM_RESAMPLES,
        batch=_BATCH,
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def smallest_p(num_ours: int, num_theirs: int) -> float:
    """The p of permutation_p when every run of one arm beats every run of the other: 2 / C(N + M, N)."""
    return min(1.0, 2 / math.comb(num_ours + num_theirs, num_ours))


def seeds_needed(num_pairs: int, alpha: float = 1 - CONFIDENCE) -> int:
    """Fewest runs an arm with which two arms, of num_pairs compared, can differ at level alpha at all."""
    num = 2
    while smallest_p(num, num) * num_pairs > alpha:
        num += 1
    return num


@functools.lru_cache(maxsize=2)
def _draws(num: int, num_resamples: int, seed: int) -> Floats:
    """How often each of num units is drawn in each resample: [num_resamples, num].

    A report estimates a thousand sums over the same products; counted once, each is a product of matrices.
    """
    counts = []
    for (units,) in _batches([num], num_resamples, seed):
        drawn = units + num * np.arange(len(units))[:, None]
        counts.append(np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape))
    return np.concatenate(counts).astype(float)


def _ratio(sums: Floats, counts: Floats, axis: int = -1) -> Any:
    return sums.sum(axis=axis) / counts.sum(axis=axis)


def _percentiles(
    samples: Sequence[Floats],
    statistic: Statistic,
    *,
    paired: bool,
    seed: int,
    num_resamples: int = NUM_RESAMPLES,
) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        tuple(samples),
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=num_resamples,
        batch=_BATCH,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def wilson(successes: int, num: int) -> tuple[float, float]:
    """The Wilson interval of a rate at CONFIDENCE, for outcomes that are independent; (0, 1) of none.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),  p = successes / n

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    if num == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    rate = successes / num
    centre = rate + z * z / (2 * num)
    half = z * math.sqrt(rate * (1 - rate) / num + z * z / (4 * num * num))
    return (centre - half) / (1 + z * z / num), (centre + half) / (1 + z * z / num)
