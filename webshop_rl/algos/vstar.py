"""The trajectory-level advantage of A*PO: the return less V*, the soft value of the reference policy.

Axes: B trajectories, T action tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.advantages import group_statistics, normalise
from webshop_rl.algos.batch import ActionBatch, masked
from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.algos.kl import log_ratio
from webshop_rl.algos.metrics import advantage_metrics, group_metrics


@dataclass(frozen=True)
class VstarAdvantages:
    """Advantages of a batch, in float64.

    Attributes:
        raw: [B] R - V* - coef l, return units.
        normalised: [B] the same after adv_norm and adv_clip; exactly 0 if all of raw are equal.
        used: [B] bool, False where the trajectory must not move the policy: all of raw are equal, or
            its group's returns are and the settings ask for equal_groups "zero".
        metrics: scalars worth logging.
    """

    raw: Tensor
    normalised: Tensor
    used: Tensor
    metrics: dict[str, float]


def vstar_advantages(settings: VstarAlgoConfig, batch: ActionBatch, log_ratio_coef: float) -> VstarAdvantages:
    """A = R - V* - coef l,  l = sum over action tokens of log behaviour - log reference; normalised.

    At collection the behaviour policy is the policy, so l is its log-ratio, held constant. Transitions
    are deterministic given the goal and cancel from l.

    Args:
        settings: adv_norm, adv_std_min, adv_clip and equal_groups are read.
        batch: a whole collection, with vstar; with ref_logprobs if log_ratio_coef is not 0.
        log_ratio_coef: return units per nat.
    Raises: ValueError if vstar or the reference is missing or an advantage is not finite.
    """
    if batch.vstar is None or (log_ratio_coef and batch.ref_logprobs is None):
        raise ValueError(
            f"{settings.name} needs " + ("V*" if batch.vstar is None else "the reference's log-probs")
        )
    returns, vstar = batch.returns.double(), batch.vstar.double()
    raw, scale = returns - vstar, torch.maximum(returns.abs().max(), vstar.abs().max())
    metrics = {}
    if batch.ref_logprobs is not None:
        behaviour = masked(batch.behaviour_logprobs, batch.mask).double()
        summed = log_ratio(behaviour, batch.ref_logprobs.double(), batch.mask).sum(dim=1)
        metrics["kl_trajectory"] = float(summed.mean())
        raw = raw - log_ratio_coef * summed
        scale = torch.maximum(scale, log_ratio_coef * behaviour.abs().sum(dim=1).max())
    normalised = normalise(
        raw, how=settings.adv_norm, std_min=settings.adv_std_min, clip=settings.adv_clip, scale=scale
    )
    groups = group_statistics(returns, batch.group)
    used = torch.full_like(batch.terminated, not normalised.equal)
    if settings.equal_groups == "zero":
        used = used & ~groups.equal
    metrics |= advantage_metrics(raw, normalised) | group_metrics(groups)
    metrics["used_frac"] = float(used.double().mean())
    return VstarAdvantages(raw, normalised.values, used, metrics)


def to_tokens(x: Tensor, batch: ActionBatch) -> Tensor:
    """Give every action token its trajectory's number: [B] to [B, T], in the dtype of the log-probs."""
    return masked(x.to(batch.behaviour_logprobs.dtype).unsqueeze(1).expand(batch.mask.shape), batch.mask)
