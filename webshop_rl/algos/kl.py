"""Log-ratios of two policies and the estimators of KL made from them.

Axes: B trajectories, T action tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.algos.batch import masked

LOG_RATIO_MAX = 20.0  # nats: exp(20) is 5e8, still far from overflow in float32


def log_ratio(logprobs: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """x = clamp(logprobs - other, -20, 20) at action tokens, 0 elsewhere.

    Args:
        logprobs: [B, T] log-probs of the policy, nats; the gradient flows through them.
        other: [B, T] log-probs of the reference or the behaviour policy, nats.
        mask: [B, T] bool, True at action tokens; anything may stand outside, NaN included.
    Returns: [B, T] nats.
    """
    return masked(logprobs - other, mask).clamp(-LOG_RATIO_MAX, LOG_RATIO_MAX)


def k1(x: Tensor) -> Tensor:
    """x: unbiased, high variance. As a loss its gradient is 0 on average, so it belongs in the reward."""
    return x


def k2(x: Tensor) -> Tensor:
    """x^2 / 2: biased, but its on-policy gradient is that of KL(policy || reference)."""
    return x.square() / 2


def k3(x: Tensor) -> Tensor:
    """e^-x - 1 + x: unbiased, low variance, never negative; its gradient as a loss is biased.

    Source: J. Schulman, Approximating KL divergence, http://joschu.net/blog/kl-approx.html
    """
    return torch.expm1(-x) + x


def kl_estimate(x: Tensor, estimator: str) -> Tensor:
    """Estimate of KL(policy || other) per token by name, "k1", "k2" or "k3"; x = log policy - log other."""
    return {"k1": k1, "k2": k2, "k3": k3}[estimator](x)
