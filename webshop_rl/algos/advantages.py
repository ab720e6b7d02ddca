"""Baselines, normalisation and clipping of advantages, and the exactly-0 rule.

Axes: B trajectories, G groups. All functions work on detached tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

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
    if x.numel() == 0 or not bool(torch.isfinite(x).all()):
        raise ValueError("advantages must be finite, and at least one")
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
    Source: GRPO, arXiv:2402.03300; Dr. GRPO, arXiv:2503.20783.
    """
    if scale not in ("none", "std"):
        raise ValueError(f"unknown scale {scale!r}")
    within = group_statistics(returns, group)
    centred = returns - within.mean
    centred = centred / (within.std + eps) if scale == "std" else centred
    return torch.where(within.equal | (within.size == 1), torch.zeros_like(centred), centred)
