"""The soft maximum of reference returns."""

import math

import numpy as np
import pytest

from webshop_rl.values.estimator import estimate, soft_value


def test_two_returns_by_hand() -> None:
    # beta 1, returns ln 1 = 0 and ln 3: log((1 + 3) / 2) = log 2
    assert soft_value([0.0, math.log(3.0)], 1.0) == pytest.approx(math.log(2.0), abs=1e-15)
    # beta 0.5, one success among 8: 0.5 log((e^2 + 7) / 8) = 0.5 log(14.389056 / 8) = 0.5 x 0.587026
    assert soft_value([1.0] + [0.0] * 7, 0.5) == pytest.approx(0.293513, abs=1e-6)


def test_limits_are_exact_and_reached_smoothly() -> None:
    r = np.array([0.1, 0.7, 1.6, 0.3])
    assert soft_value(r, 0.0) == r.max()
    assert soft_value(r, math.inf) == r.mean()
    assert soft_value(r, 1e-300) == pytest.approx(r.max(), abs=1e-15)
    assert soft_value(r, 5e-324) == pytest.approx(r.max(), abs=1e-15)
    # A naive logsumexp - log N at beta 1e12 has lost every digit.
    assert soft_value(r, 1e12) == pytest.approx(r.mean(), abs=1e-12)


def test_works_on_the_last_axis() -> None:
    r = np.array([[0.0, 1.0], [2.0, 2.0]])
    assert soft_value(r, 0.5).shape == (2,)
    assert soft_value(r, 0.5)[1] == 2.0


def test_estimators_by_name() -> None:
    r = [0.0, 0.5, 1.0]
    assert estimate(r, estimator="max", beta=0.5) == 1.0
    assert estimate(r, estimator="mean", beta=0.5) == 0.5
    assert estimate(r, estimator="soft", beta=0.5) == soft_value(r, 0.5)
    with pytest.raises(ValueError, match="estimator"):
        estimate(r, estimator="median", beta=0.5)


@pytest.mark.parametrize("beta", [-0.1, math.nan])
def test_bad_beta_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        soft_value([0.0], beta)


@pytest.mark.parametrize("returns", [[], [math.nan], [0.0, math.inf], 3.0])
def test_bad_returns_are_refused(returns: object) -> None:
    with pytest.raises(ValueError, match="return"):
        soft_value(returns, 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(("beta", "average", "true"), [(0.5, 0.110, 0.139), (0.1, 0.271, 0.701)])
def test_bias_at_eight_samples(beta: float, average: float, true: float) -> None:
    """The bias the docstring states: exact expectation over the number of successes among 8."""
    p, n = 0.05, 8
    expected = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) * float(soft_value([1.0] * k + [0.0] * (n - k), beta))
        for k in range(n + 1)
    )
    assert expected == pytest.approx(average, abs=5e-4)
    # With all of the distribution: beta log(p e^(1/beta) + 1 - p); 1 in 20 is that distribution.
    assert float(soft_value([1.0] + [0.0] * 19, beta)) == pytest.approx(true, abs=5e-4)
    assert beta * math.log(p * math.exp(1 / beta) + 1 - p) == pytest.approx(true, abs=5e-4)
