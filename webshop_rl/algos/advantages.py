"""Advantages: over a trajectory, within a group, over time; their normalisation and the exactly-0 rule.

Axes: B trajectories, G groups, T action tokens, K turns, S steps (turns or tokens, as the caller means).
All functions work on detached tensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, masked
from webshop_rl.algos.config import VstarAlgoConfig
from webshop_rl.algos.losses import log_ratio, turn_lengths
from webshop_rl.config.groups import AlgoConfig

# Rounding of a float32 sum of tens of terms, relative to its operands, with room to spare; far below
# any difference of two returns that means something.
EQUAL_RTOL = 1e-5


def all_equal(x: Tensor, *, scale: Tensor | float = 0.0) -> bool:
    """Whether the numbers x [N] differ by no more than rounding: max - min <= 1e-5 max(|x|, scale).

    Args:
        x: [N], any N >= 1.
        scale: size of the operands x was computed from. The rounding of a difference is relative to
            them and not to the difference, which may be near 0.
    """
    bound = EQUAL_RTOL * torch.maximum(x.abs().max(), torch.as_tensor(scale, dtype=x.dtype, device=x.device))
    return bool(x.max() - x.min() <= bound)


@dataclass(frozen=True)
class Normalised:
    """Normalised advantages [N] and what was done to them."""

    values: Tensor
    equal: bool  # all were equal, so all are exactly 0
    clipped_frac: float


def normalise(
    x: Tensor, *, how: str, std_min: float, clip: float | None, scale: Tensor | float = 0.0
) -> Normalised:
    """Shift, scale and clamp a batch of advantages; exactly 0 if they are all equal.

        none       x
        std        x / d,           d = max(std x, std_min), ddof 0
        mean_std   (x - mean x) / d
    then clamped to [-clip, clip]. A constant advantage is a baseline, whose gradient is 0 on average:
    where all are equal within rounding the result is exactly 0, rounding is never divided by d.

    Args:
        x: [N] advantages, return units.
        how: one of the three names.
        std_min: floor of the divisor, return units.
        clip: bound, or None.
        scale: size of the operands of x, see all_equal.
    Raises: ValueError if x is empty or not finite.
    """
    if x.numel() == 0:
        raise ValueError("advantages must be finite, and at least one: no trajectory has a step")
    if broken := int((~torch.isfinite(x)).sum()):
        raise ValueError(
            f"{broken} of {x.numel()} advantages are not finite: a reward, V*, a value or a log-prob is not"
        )
    if all_equal(x, scale=scale):
        return Normalised(torch.zeros_like(x), True, 0.0)
    if how not in ("none", "std", "mean_std"):
        raise ValueError(f"unknown adv_norm {how!r}")
    y = x - x.mean() if how == "mean_std" else x
    if how != "none":
        y = y / x.std(correction=0).clamp(min=std_min)
    if clip is None:
        return Normalised(y, False, 0.0)
    clipped = (y.abs() > clip).to(y.dtype).mean().item()
    return Normalised(y.clamp(-clip, clip), False, clipped)


@dataclass(frozen=True)
class Groups:
    """Statistics of a number per group, each [B]: spread over the trajectories of the group."""

    mean: Tensor
    std: Tensor  # ddof 0
    size: Tensor  # long
    equal: Tensor  # bool: two or more, all equal within rounding

    def per_group(self, x: Tensor) -> float:
        """Mean over groups, each counting once, of a number [B] that is the same within a group."""
        share = 1 / self.size.double()
        return float((x * share).sum() / share.sum())


def group_statistics(x: Tensor, group: Tensor) -> Groups:
    """Statistics of x [B] within the groups numbered by group [B] long (any numbers)."""
    _, index = torch.unique(group, return_inverse=True)
    num_groups = int(index.max()) + 1
    zeros = torch.zeros(num_groups, dtype=x.dtype, device=x.device)
    size = torch.bincount(index, minlength=num_groups)
    mean = zeros.index_add(0, index, x) / size
    variance = zeros.index_add(0, index, (x - mean[index]).square()) / size
    high = zeros.scatter_reduce(0, index, x, "amax", include_self=False)
    low = zeros.scatter_reduce(0, index, x, "amin", include_self=False)
    largest = torch.maximum(high.abs(), low.abs())
    equal = (high - low <= EQUAL_RTOL * largest) & (size > 1)
    return Groups(mean[index], variance.sqrt()[index], size[index], equal[index])


def group_advantages(returns: Tensor, group: Tensor, *, scale: str, eps: float) -> Tensor:
    """Subtract each group's mean return; optionally divide by its spread.

    A_b = (R_b - mean R) / d over the group of b,  d = 1 (scale "none") or std R + eps (scale "std", ddof 0).
    A group whose returns are all equal, or of one, gives exactly 0.

    Args:
        returns: [B] episode returns, return units.
        group: [B] long, number of each trajectory's group.
        scale: "std" is GRPO, "none" is Dr. GRPO.
        eps: added to the standard deviation, return units.
    Returns: [B].
    Raises: ValueError if a return is not finite: in a group of one it would pass for nothing to compare.
    Source: GRPO, arXiv:2402.03300; Dr. GRPO, arXiv:2503.20783.
    """
    if scale not in ("none", "std"):
        raise ValueError(f"unknown scale {scale!r}")
    if broken := int((~torch.isfinite(returns)).sum()):
        raise ValueError(f"{broken} of {returns.numel()} returns are not finite")
    within = group_statistics(returns, group)
    centred = returns - within.mean
    centred = centred / (within.std + eps) if scale == "std" else centred
    return torch.where(within.equal | (within.size == 1), torch.zeros_like(centred), centred)


@dataclass(frozen=True)
class TrajectoryAdvantages:
    """One advantage a trajectory, in float64.

    Attributes:
        raw: [B] before normalisation, return units.
        normalised: [B] the same after adv_norm and adv_clip; exactly 0 if all of raw are equal.
        used: [B] bool, False where the trajectory must not move the policy.
        metrics: scalars worth logging.
    """

    raw: Tensor
    normalised: Tensor
    used: Tensor
    metrics: dict[str, float]


@dataclass(frozen=True)
class LessLogRatio:
    """Advantages of trajectories less their log-ratio to the reference, in float64.

    Attributes:
        values: [B] return units.
        scale: size of the operands they were computed from, see all_equal.
        metrics: scalars worth logging.
    """

    values: Tensor
    scale: Tensor
    metrics: dict[str, float]


def less_log_ratio(
    settings: AlgoConfig, batch: ActionBatch, compared: Tensor, log_ratio_coef: float
) -> LessLogRatio:
    """compared - coef l,  l = sum over action tokens of log policy - log reference, as of the collection.

    It is held constant. Transitions are deterministic given the goal and cancel from l.

    Args:
        settings: the name is read.
        batch: a whole collection; with ref_logprobs if log_ratio_coef is not 0.
        compared: [B] returns less a baseline, return units, float64.
        log_ratio_coef: return units per nat.
    Raises: ValueError if the reference is missing.
    """
    returns = batch.returns.double()
    raw = compared
    metrics = group_metrics(group_statistics(returns, batch.group))
    scale = returns.abs().max()
    if batch.vstar is not None:
        scale = torch.maximum(scale, batch.vstar.double().abs().max())
    if batch.ref_logprobs is not None:
        policy = masked(batch.at_collection, batch.mask).double()
        summed = log_ratio(policy, batch.ref_logprobs.double(), batch.mask).sum(dim=1)
        metrics["kl_trajectory"] = float(summed[batch.own].mean())
        raw = raw - log_ratio_coef * summed
        scale = torch.maximum(scale, log_ratio_coef * policy.abs().sum(dim=1).max())
    elif log_ratio_coef:
        raise ValueError(f"{settings.name} needs the reference's log-probs")
    return LessLogRatio(raw, scale, metrics)


def trajectory_advantages(
    settings: AlgoConfig, batch: ActionBatch, compared: Tensor, log_ratio_coef: float
) -> TrajectoryAdvantages:
    """A = compared - coef l as less_log_ratio has it, normalised.

    Args:
        settings: adv_norm, adv_std_min and adv_clip are read.
        batch, compared, log_ratio_coef: as of less_log_ratio.
    Raises: ValueError if the reference is missing or an advantage is not finite.
    """
    less = less_log_ratio(settings, batch, compared, log_ratio_coef)
    found = normalise(
        less.values,
        how=settings.adv_norm,
        std_min=settings.adv_std_min,
        clip=settings.adv_clip,
        scale=less.scale,
    )
    used = torch.full_like(batch.terminated, not found.equal)
    metrics = less.metrics | advantage_metrics(less.values, found)
    return TrajectoryAdvantages(less.values, found.values, used, metrics)


def vstar_advantages(
    settings: VstarAlgoConfig, batch: ActionBatch, log_ratio_coef: float
) -> TrajectoryAdvantages:
    """A*PO's advantages, R - V* - coef l. With equal_groups "zero" a group of equal returns is not used.

    Raises: ValueError if vstar or the reference is missing or an advantage is not finite.
    """
    if batch.vstar is None:
        raise ValueError(f"{settings.name} needs V*")
    returns = batch.returns.double()
    found = trajectory_advantages(settings, batch, returns - batch.vstar.double(), log_ratio_coef)
    used = found.used
    if settings.equal_groups == "zero":
        used = used & ~group_statistics(returns, batch.group).equal
    return replace(found, used=used, metrics=found.metrics | {"used_frac": float(used.double().mean())})


def to_tokens(x: Tensor, batch: ActionBatch) -> Tensor:
    """Give every action token its trajectory's number: [B] to [B, T], in the dtype of the log-probs."""
    return masked(x.to(batch.behaviour_logprobs.dtype).unsqueeze(1).expand(batch.mask.shape), batch.mask)


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, last_value: Tensor, *, gamma: float, gae_lambda: float
) -> Tensor:
    """Generalised advantage estimation over the steps inside the mask.

    With j(s) the next step inside the mask:
        d_s = r_s + gamma V_j(s) - V_s          V after the last step = last_value
        A_s = d_s + gamma gae_lambda A_j(s)     A after the last step = 0
    Steps outside the mask (padding, or page tokens between two replies) are no steps: next value and
    lambda-sum are carried through them undiminished.

    Args:
        rewards: [B, S] reward that follows each step, return units.
        values: [B, S] V before each step, return units.
        mask: [B, S] bool; anything may stand outside, NaN included.
        last_value: [B] V after the last step, 0 where nothing follows.
        gamma: discount per step inside the mask.
        gae_lambda: decay per step inside the mask.
    Returns: [B, S] advantages, 0 outside the mask.
    Source: arXiv:1506.02438.
    """
    rewards, values = masked(rewards, mask), masked(values, mask)
    advantages = torch.zeros_like(values)
    next_value, next_advantage = last_value, torch.zeros_like(last_value)
    for s in reversed(range(mask.shape[1])):
        here = mask[:, s]
        delta = rewards[:, s] + gamma * next_value - values[:, s]
        next_advantage = torch.where(here, delta + gamma * gae_lambda * next_advantage, next_advantage)
        next_value = torch.where(here, values[:, s], next_value)
        advantages[:, s] = next_advantage
    return masked(advantages, mask)


def token_rewards(rewards_K: Tensor, turn: Tensor, mask: Tensor, turn_mask: Tensor) -> Tensor:
    """Put each turn's reward at its last action token.

    Args:
        rewards_K: [B, K] reward of each turn.
        turn: [B, T] long, turn of each action token, not falling along a row.
        mask: [B, T] bool, True at action tokens.
        turn_mask: [B, K] bool.
    Returns: [B, T], 0 elsewhere.
    Raises: ValueError if a turn has no action token, for its reward would be lost.
    """
    num_turns = turn_mask.shape[1]
    if bool((turn_mask & (turn_lengths(mask, turn, num_turns) == 0)).any()):
        raise ValueError("a turn without action tokens cannot carry its reward")
    position = torch.arange(mask.shape[1], device=mask.device).expand_as(turn)
    last = torch.zeros(turn_mask.shape, dtype=torch.long, device=mask.device).scatter_reduce(
        1, torch.where(mask, turn, 0), torch.where(mask, position, 0), "amax"
    )
    rewards = masked(rewards_K, turn_mask)
    # An absent turn points at token 0 and adds 0 there.
    return torch.zeros(mask.shape, dtype=rewards.dtype, device=rewards.device).scatter_add(1, last, rewards)


def turns_to_tokens(x_K: Tensor, turn: Tensor, mask: Tensor) -> Tensor:
    """Give every action token its turn's number: [B, K] to [B, T], 0 outside the mask."""
    return masked(x_K.gather(1, torch.where(mask, turn, 0)), mask)


def sum_per_turn(x_T: Tensor, turn: Tensor, mask: Tensor, num_turns: int) -> Tensor:
    """Sum over the action tokens of each turn: [B, T] to [B, K]."""
    sums = torch.zeros(mask.shape[0], num_turns, dtype=x_T.dtype, device=x_T.device)
    return sums.scatter_add(1, torch.where(mask, turn, 0), masked(x_T, mask))


def spread(name: str, x: Tensor) -> dict[str, float]:
    """Mean, standard deviation (ddof 0), minimum and maximum of x [N] as name_mean and so on."""
    return {
        f"{name}_mean": float(x.mean()),
        f"{name}_std": float(x.std(correction=0)),
        f"{name}_min": float(x.min()),
        f"{name}_max": float(x.max()),
    }


def advantage_metrics(raw: Tensor, normalised: Normalised) -> dict[str, float]:
    """The advantages before normalisation [N], and what normalisation did."""
    return spread("advantage", raw) | {
        "advantage_positive_frac": float((raw > 0).double().mean()),
        "advantage_clipped_frac": normalised.clipped_frac,
        "advantages_equal": float(normalised.equal),
    }


def group_metrics(groups: Groups) -> dict[str, float]:
    """Returns within groups."""
    return {
        "group_return_std": groups.per_group(groups.std),
        "groups_equal_frac": groups.per_group(groups.equal.double()),
    }
