"""Tokens that another engine sampled: how far its log-probs are from the learner's, and the correction.

An inference engine has the learner's weights and other kernels, so what it samples comes from a policy mu
that is not quite pi. E_pi[f] = E_mu[(pi / mu) f]; the weight is truncated, for its variance has no bound:

    w_t = min(pi_t / mu_t, cap)   at decisions; 1 elsewhere

Axes: B trajectories, T action tokens.
Source: truncated importance sampling, Ionides 2008, Journal of Computational and Graphical Statistics 17(2);
per token, between an engine and a learner: Yao et al. 2025, https://fengyao.notion.site/off-policy-rl
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.algorithm import masked
from webshop_rl.algos.losses import log_ratio


@dataclass(frozen=True)
class Correction:
    """Weights [B, T], detached, and what is logged of them and of the gap."""

    weights: Tensor
    metrics: dict[str, float]


def correction(policy: Tensor, sampled: Tensor, decided: Tensor, cap: float | None) -> Correction:
    """Truncated importance weights of what an engine sampled.

    Args:
        policy: [B, T] log-probs under the learner, with the weights that sampled, nats.
        sampled: [B, T] log-probs as the engine gave them, nats.
        decided: [B, T] bool, True at decisions that the engine made; anything may stand elsewhere.
        cap: largest weight; None: all weights are 1.
    Returns: the weights, and over decisions: the mean and the largest |log pi - log mu|, the mean of the
        weights, and the share of decisions whose weight was truncated.
    Raises: ValueError if the cap is below 1: it would scale what needs no correction.
    """
    if cap is not None and cap < 1:
        raise ValueError(f"a cap of {cap} is below 1")
    x = log_ratio(policy.detach(), sampled, decided)
    number = max(int(decided.sum()), 1)
    ratio = x.exp()
    above = torch.zeros_like(decided) if cap is None else decided & (ratio > cap)
    weights = torch.ones_like(ratio) if cap is None else ratio.clamp(max=cap)
    gap = x.abs()
    metrics = {
        "gap_mean": float(gap.sum()) / number,
        "gap_max": float(gap.max()) if gap.numel() else 0.0,
        "weight_mean": float(masked(weights, decided).sum()) / number,
        "truncated_frac": float(above.sum()) / number,
    }
    return Correction(weights, metrics)
