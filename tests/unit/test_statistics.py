from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from webshop_rl import statistics
from webshop_rl.statistics import (
    Estimate,
    difference,
    effective_products,
    improvement,
    interval,
    iqm,
    mean,
    over_products,
    over_seeds,
    permutation_p,
    seeds_needed,
    smallest_p,
)

# Scores [runs, tasks] and what rliable 1.2.0 gives for them: aggregate_iqm and aggregate_mean with
# get_interval_estimates(reps=200000, RandomState(0)), probability_of_improvement with reps=50000.
X = np.array([[(7 * r * r + 13 * t + 3 * r * t) % 29 / 29 for t in range(4)] for r in range(6)])
Y = np.array([[(5 * r * r + 11 * t + 2 * r * t + 4) % 31 / 31 for t in range(4)] for r in range(5)])
RLIABLE = {
    ("x", iqm): (0.60057471, 0.41954023, 0.77873563),
    ("x", mean): (0.56465517, 0.44252874, 0.68678161),
    ("y", iqm): (0.46451613, 0.30322581, 0.61290323),
    ("y", mean): (0.47258065, 0.37096774, 0.56935484),
}


@pytest.mark.parametrize(("matrix", "statistic"), RLIABLE)
def test_stratified_intervals_are_those_of_rliable(matrix, statistic):
    found = over_seeds(statistic, *{"x": X, "y": Y}[matrix].T)
    value, low, high = RLIABLE[matrix, statistic]
    assert found.value == pytest.approx(value, abs=1e-8)
    # Ends of an interval move by the resampling: some 0.003 with 10,000 resamples.
    assert found.low == pytest.approx(low, abs=0.008)
    assert found.high == pytest.approx(high, abs=0.008)


def test_probability_of_improvement_is_that_of_rliable():
    # rliable's is the mean over tasks of P(X > Y): 0.6 with [0.425, 0.767] over four tasks.
    tasks = [improvement(X[:, t], Y[:, t]) for t in range(4)]
    assert np.mean(tasks) == pytest.approx(0.6)

    def over_tasks(*samples, axis):
        return np.mean([improvement(samples[t], samples[t + 4], axis=axis) for t in range(4)], axis=0)

    found = over_seeds(over_tasks, *X.T, *Y.T)
    assert (found.low, found.high) == pytest.approx((0.425, 0.76666667), abs=0.01)


def test_improvement_counts_a_tie_half():
    # pairs of (1, 3) with (1, 2): 1=1 half, 1<2 none, 3>1 and 3>2 one each: 2.5 of 4
    assert improvement([1.0, 3.0], [1.0, 2.0]) == pytest.approx(2.5 / 4)


def test_iqm_cuts_a_quarter_at_each_end_but_nothing_of_three():
    assert iqm([9.0, 1.0, 2.0, 0.0]) == pytest.approx(1.5)
    assert iqm([9.0, 1.0, 2.0]) == pytest.approx(4.0)


def test_one_seed_has_no_interval():
    found = over_seeds(mean, [0.5])
    assert (found.value, found.low, found.high, found.num) == (0.5, None, None, 1)
    assert over_seeds(difference, [0.5], [0.1, 0.2]).low is None


def test_two_seeds_interval_ends_at_the_seeds():
    # of two values half of all resamples are mixed and a quarter each all-low, all-high: 2.5 % is the low one
    found = over_seeds(mean, [0.2, 0.6])
    assert (found.low, found.high) == (0.2, 0.6)
    assert not found.pointlike


def test_equal_seeds_give_an_interval_without_width():
    assert over_seeds(mean, [1.0, 1.0, 1.0]).pointlike


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        over_seeds(mean, bad)


def test_intervals_are_the_same_every_time():
    assert over_seeds(mean, [0.1, 0.5, 0.7]) == over_seeds(mean, [0.1, 0.5, 0.7])


def test_draws_that_are_kept_give_the_intervals_of_scipy(monkeypatch):
    rng = np.random.default_rng(7)
    for num in (2, 25, 89):
        goals = rng.integers(0, num, 3 * num)
        products = [f"B{i}" for i in (*range(num), *goals)]
        values, weights = rng.random(4 * num), rng.integers(1, 4, 4 * num)
        kept = over_products(values, weights, products, seed=3)
        monkeypatch.setattr("webshop_rl.statistics._FEW_UNITS", 0)
        asked = over_products(values, weights, products, seed=3)
        monkeypatch.undo()
        assert (kept.low, kept.high) == pytest.approx((asked.low, asked.high), abs=1e-12)


@pytest.mark.parametrize("statistic", [mean, iqm, difference, improvement])
@pytest.mark.parametrize("sizes", [(2, 2), (5, 3), (3, 20)])
def test_draws_of_runs_that_are_kept_give_the_intervals_of_scipy(monkeypatch, statistic, sizes):
    rng = np.random.default_rng(8)
    arms = [rng.random(size) for size in sizes]
    kept = over_seeds(statistic, *arms, seed=4)
    statistics._interval.cache_clear()
    monkeypatch.setattr(statistics, "_FEW_RUNS", 0)
    asked = over_seeds(statistic, *arms, seed=4)
    statistics._interval.cache_clear()
    assert (kept.low, kept.high) == pytest.approx((asked.low, asked.high), abs=1e-12)
    assert kept.low < kept.high


def test_interval_over_products_agrees_with_a_second_implementation():
    rng = np.random.default_rng(3)
    products = [f"B{i}" for i in rng.integers(0, 12, 60)]
    values, weights = rng.normal(0.1, 1, 60), rng.integers(1, 4, 60).astype(float)
    found = over_products(values, weights, products)
    # by goal lists of drawn products, one at a time
    names = sorted(set(products))
    members = {n: [i for i, p in enumerate(products) if p == n] for n in names}
    means = []
    for _ in range(8000):
        drawn = [i for n in rng.choice(names, len(names)) for i in members[n]]
        means.append(np.average(values[drawn], weights=weights[drawn]))
    assert found.value == pytest.approx(np.average(values, weights=weights))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), abs=0.03)
    assert found.num == len(names)


def test_goals_of_one_product_do_not_count_as_independent():
    # ten goals, each of which comes a hundred times, say no more than ten goals
    rng = np.random.default_rng(0)
    values, products = rng.normal(size=10), [f"B{i}" for i in range(10)]
    few = over_products(values, np.ones(10), products)
    many = over_products(np.repeat(values, 100), np.ones(1000), np.repeat(products, 100).tolist())
    assert many.high - many.low == pytest.approx(few.high - few.low)


def test_one_product_has_no_interval():
    found = over_products([1.0, 0.0], [3, 1], ["B1", "B1"])
    assert (found.value, found.low, found.num) == (0.75, None, 1)


def test_permutation_p_is_the_share_of_dealings_at_least_as_extreme():
    ours, theirs = [0.9, 0.7, 0.8, 0.4], [0.5, 0.3, 0.6]
    pooled, observed = np.array(ours + theirs), np.mean(ours) - np.mean(theirs)
    dealt = []
    for chosen in combinations(range(7), 4):
        rest = [i for i in range(7) if i not in chosen]
        dealt.append(pooled[list(chosen)].mean() - pooled[rest].mean())
    one_sided = np.mean(np.array(dealt) >= observed - 1e-12)
    assert permutation_p(ours, theirs) == pytest.approx(2 * one_sided)


def test_smallest_p_is_reached_when_every_run_beats_every_other():
    assert smallest_p(2, 2) == pytest.approx(1 / 3)  # 2 / C(4, 2)
    assert permutation_p([3, 4, 5, 6], [0, 1, 2, 2.5]) == pytest.approx(smallest_p(4, 4))
    assert permutation_p([1.0, 1.0], [1.0, 1.0]) == 1


def test_seeds_needed_grows_with_the_number_of_pairs():
    # 2 / C(6, 3) = 0.1, 2 / C(8, 4) = 0.029; times 3 pairs 0.086; 2 / C(10, 5) = 0.0079, times 3 0.024
    assert (seeds_needed(1), seeds_needed(3)) == (4, 5)


def test_products_in_effect_by_hand():
    assert effective_products(["a", "b", "c", "d"]) == pytest.approx(4)
    # Shares 1/2, 1/4, 1/4: 1 / (1/4 + 1/16 + 1/16).
    assert effective_products(["a", "a", "b", "c"]) == pytest.approx(8 / 3)
    assert effective_products(["a"] * 9) == pytest.approx(1)
    # The same by goals and their episodes.
    assert effective_products(["a", "a", "b", "c"], [3, 1, 2, 2]) == pytest.approx(8 / 3)
    assert effective_products([]) == 0.0


def test_an_interval_in_words():
    assert interval(Estimate(0.8124, 0.78, 0.84, 3)) == "0.812 [0.780, 0.840]"
    assert interval(Estimate(0.8124, None, None, 1), digits=2) == "0.81"
    assert interval(Estimate(-0.0001, -0.1, 0.1, 3), signed=True) == "+0.000 [-0.100, +0.100]"
    assert interval(None) == "-"
