"""The critic's loss and how well it explains its targets.

Axes: B trajectories, S steps (turns or action tokens).
"""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.algos.batch import masked


def value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """Half the squared error per step; with a clip, the worse of the free and the bounded move.

        v_c = old + clamp(v - old, -clip, clip),   loss = max((v - target)^2, (v_c - target)^2) / 2

    Args:
        values: [B, S] the critic's values, with gradient, return units.
        old_values: [B, S] the same at collection.
        targets: [B, S] what they should be.
        mask: [B, S] bool; anything may stand outside.
        clip: half-width of the move, return units, or None.
    Returns: loss [B, S], 0 outside the mask; [B, S] bool, where the bounded move gave the loss.
    Source: PPO's reference implementation; arXiv:2006.05990 finds the clip of no use.
    """
    values, old, targets = (masked(values, mask), masked(old_values, mask), masked(targets, mask))
    free = (values - targets).square()
    if clip is None:
        return free / 2, torch.zeros_like(mask)
    bounded = (old + (values - old).clamp(-clip, clip) - targets).square()
    return torch.maximum(free, bounded) / 2, (bounded > free).detach()


def explained_variance(values: Tensor, targets: Tensor) -> float:
    """1 - Var(targets - values) / Var(targets) of [N] steps; 0 where the targets do not vary."""
    variance = targets.var(correction=0)
    if float(variance) == 0.0:
        return 0.0
    return float(1 - (targets - values).var(correction=0) / variance)
