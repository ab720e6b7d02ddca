"""What reference returns say of the goals they were sampled for, and how far off few samples would be.

Axes: G goals, M samples stored for a goal, N samples an estimate would use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from webshop_rl.values.estimator import estimate
from webshop_rl.values.store import KeyedReturns

NUM_SAMPLES: Final = (8, 4, 2)  # what vstar.adaptive goes through by default
_RESAMPLES = 200


@dataclass(frozen=True)
class FewSamples:
    """What N samples a goal would give, by drawing N of those stored with replacement.

    Attributes:
        num_samples: N.
        bias: mean over goals of the expected estimate, minus the estimate from all samples, return units.
        std: of one estimate around its expectation, mean over goals, return units.
        all_fail: expected share of goals without a success among N.
        all_equal: expected share of goals whose N returns are all equal.
    """

    num_samples: int
    bias: float
    std: float
    all_fail: float
    all_equal: float


@dataclass(frozen=True)
class Summary:
    """Of the reference returns of some goals; means weigh goals alike.

    Attributes:
        num_goals, num_samples: goals, and samples of all of them.
        fewest, most: samples of a goal.
        return_mean: return units.
        success: share of samples with score 1.
        vstar_mean, vstar_std: over goals, each from all its samples, return units.
        spread: standard deviation of a goal's returns (ddof 0), mean over goals, return units.
        all_fail, all_succeed: share of goals of which no sample, or every one, has score 1.
        all_equal: share of goals whose returns are all equal: what vstar.min_spread above 0 leaves out.
        few: what fewer samples a goal would give.
    """

    num_goals: int
    num_samples: int
    fewest: int
    most: int
    return_mean: float
    success: float
    vstar_mean: float
    vstar_std: float
    spread: float
    all_fail: float
    all_succeed: float
    all_equal: float
    few: tuple[FewSamples, ...]


def summarise(returns: KeyedReturns, goals: Sequence[str], *, estimator: str, beta: float) -> Summary:
    """The summary of goals that have samples.

    Args:
        returns: the store's, under one key.
        goals: at least one, each with at least one sample.
        estimator, beta: of V*, see estimator.estimate.
    """
    earned = {goal: np.array([*returns.get(goal).values()]) for goal in goals}
    solved = {goal: np.array([*returns.scores(goal).values()]) == 1 for goal in goals}
    sizes = [len(values) for values in earned.values()]
    vstar = [float(estimate(values, estimator=estimator, beta=beta)) for values in earned.values()]
    return Summary(
        num_goals=len(goals),
        num_samples=sum(sizes),
        fewest=min(sizes),
        most=max(sizes),
        return_mean=_mean([values.mean() for values in earned.values()]),
        success=_mean([flags.mean() for flags in solved.values()]),
        vstar_mean=_mean(vstar),
        vstar_std=float(np.std(vstar)),
        spread=_mean([values.std() for values in earned.values()]),
        all_fail=_mean([not flags.any() for flags in solved.values()]),
        all_succeed=_mean([flags.all() for flags in solved.values()]),
        all_equal=_mean([np.ptp(values) == 0 for values in earned.values()]),
        few=tuple(
            _few(earned, solved, number, estimator=estimator, beta=beta)
            for number in NUM_SAMPLES
            if number <= max(sizes)
        ),
    )


def _few(
    earned: Mapping[str, NDArray[np.float64]],
    solved: Mapping[str, NDArray[np.bool_]],
    number: int,
    *,
    estimator: str,
    beta: float,
) -> FewSamples:
    """Drawn anew from what is stored: exact where a goal's chances are known, else by a fixed simulation."""
    rng = np.random.default_rng(number)
    biases, stds, equal = [], [], []
    for values in earned.values():
        drawn = values[rng.integers(len(values), size=(_RESAMPLES, number))]
        estimates = estimate(drawn, estimator=estimator, beta=beta)
        biases.append(float(estimates.mean() - estimate(values, estimator=estimator, beta=beta)))
        stds.append(float(estimates.std()))
        shares = np.unique(values, return_counts=True)[1] / len(values)
        equal.append(float((shares**number).sum()))
    fails = [(1 - flags.mean()) ** number for flags in solved.values()]
    return FewSamples(number, _mean(biases), _mean(stds), _mean(fails), _mean(equal))


def _mean(values: Sequence[float | np.bool_]) -> float:
    return float(np.mean(np.array(values, dtype=np.float64)))
