"""V*: the soft maximum of the returns that reference samples of a goal earned.

Axes: N samples, on the last axis. All in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ESTIMATORS = ("soft", "max", "mean")


def soft_value(returns: ArrayLike, beta: float) -> NDArray[np.float64]:
    """beta (logsumexp(r / beta) - log N): the max as beta goes to 0, the mean as it goes to infinity.

    Computed as m + beta log1p(mean expm1((r - m) / beta)) with m the max, which neither overflows for
    small beta nor cancels for large. beta = 0 and beta = inf give max and mean exactly.

    Biased low for small N. Returns 0 or 1, success probability p:

        p     N   beta   mean of the estimate   true
        0.05  8   0.5    0.110                  0.139
        0.05  8   0.1    0.271                  0.701

    Args:
        returns: [..., N] returns, N >= 1, all finite.
        beta: temperature, return units, 0 <= beta <= inf.
    Returns: [...], between the mean and the max.
    Raises: ValueError if a return is not finite, N is 0, or beta is negative or NaN.
    Source: A*-PO, arXiv:2505.20686, equation for V*.
    """
    r = _checked(returns)
    if not beta >= 0:
        raise ValueError(f"beta must be >= 0, not {beta}")
    if beta == 0:
        return np.asarray(r.max(axis=-1))
    if np.isinf(beta):
        return np.asarray(r.mean(axis=-1))
    top = r.max(axis=-1)
    # A tiny beta sends (r - m) / beta to -inf, which is what is meant: that sample does not count.
    with np.errstate(over="ignore"):
        excess = np.expm1((r - top[..., None]) / beta).mean(axis=-1)
    return np.asarray(top + beta * np.log1p(excess))


def estimate(returns: ArrayLike, *, estimator: str, beta: float) -> NDArray[np.float64]:
    """V* by name: "soft" with its beta, "max" or "mean". Shapes and errors as soft_value."""
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, not {estimator!r}")
    return soft_value(returns, {"soft": beta, "max": 0.0, "mean": np.inf}[estimator])


def _checked(returns: ArrayLike) -> NDArray[np.float64]:
    r = np.asarray(returns, dtype=np.float64)
    if r.ndim == 0 or r.shape[-1] == 0:
        raise ValueError("V* needs at least one return")
    if not np.isfinite(r).all():
        raise ValueError("returns must be finite")
    return r
