"""Losses of the policy per action token, before any normalisation, and A*PO's regression.

Axes: B trajectories, T action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.batch import masked
from webshop_rl.algos.kl import log_ratio


def weighted_nll(logprobs: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """-w log pi per token: the policy gradient where w is an advantage, cloning where w is positive.

    Args:
        logprobs: [B, T] log-probs of the policy, with gradient.
        weights: [B, T] constants.
        mask: [B, T] bool.
    Returns: [B, T], exactly 0 outside the mask and where the weight is 0.
    """
    used = mask & (weights != 0)  # 0 * -inf would be NaN
    return -masked(weights, mask) * masked(logprobs, used)


@dataclass(frozen=True)
class ClippedRatio:
    """Per-token loss of the clipped surrogate, with the ratio and where the clip took the gradient."""

    loss: Tensor  # [B, T]
    ratio: Tensor  # [B, T] detached, 0 outside the mask
    clipped: Tensor  # [B, T] bool


def clipped_surrogate(
    logprobs: Tensor, behaviour_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip_eps: float
) -> ClippedRatio:
    """-min(rho A, clamp(rho, 1 - eps, 1 + eps) A) with rho = pi / pi_behaviour per token.

    At rho = 1 its gradient is that of -A log pi.

    Args:
        logprobs: [B, T] log-probs of the policy, with gradient.
        behaviour_logprobs: [B, T] log-probs of the policy that sampled.
        advantages: [B, T] constants.
        mask: [B, T] bool.
        clip_eps: half-width of the clip.
    Source: PPO, arXiv:1707.06347.
    """
    ratio = masked(log_ratio(logprobs, behaviour_logprobs, mask).exp(), mask)
    advantages = masked(advantages, mask)
    bounded = ratio.clamp(1 - clip_eps, 1 + clip_eps)
    plain, safe = ratio * advantages, bounded * advantages
    return ClippedRatio(-torch.minimum(plain, safe), ratio.detach(), (safe < plain).detach() & mask)


def apo_regression(summed_log_ratio: Tensor, advantages: Tensor, beta2: float) -> Tensor:
    """(beta2 l - (r - V*))^2 per trajectory: A*PO's own loss.

    On-policy its gradient is 2 beta2 times that of -(r - V* - beta2 l) l with the bracket held constant.

    Args:
        summed_log_ratio: [B] l = sum over action tokens of log pi - log ref, nats, with gradient.
        advantages: [B] r - V*, return units.
        beta2: return units per nat.
    Returns: [B]; the loss is their mean.
    Source: A*-PO, arXiv:2505.20686.
    """
    return (beta2 * summed_log_ratio - advantages).square()
