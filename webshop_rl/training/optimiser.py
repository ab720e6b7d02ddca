"""AdamW with a stateless schedule, gradient clip and a guard against non-finite gradients."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from webshop_rl.config.schema import OptimConfig
from webshop_rl.distributed.master_weights import MasterAdamW


def schedule_factor(update: int, num_updates: int, warmup_updates: int, schedule: str) -> float:
    """What the learning rate is multiplied by at an update.

    Args:
        update: 0-based index.
        num_updates: length of the run; linear and cosine reach 0 there.
        warmup_updates: linear rise from 1 / warmup_updates.
        schedule: "constant", "linear" or "cosine".
    """
    if update < warmup_updates:
        return (update + 1) / warmup_updates
    left = max(1, num_updates - warmup_updates)
    done = min(1.0, (update - warmup_updates) / left)
    if schedule == "linear":
        return 1 - done
    return 0.5 * (1 + math.cos(math.pi * done)) if schedule == "cosine" else 1.0


def build_optimiser(
    network: nn.Module, lr: float, optim: OptimConfig, critic_lr_scale: float
) -> torch.optim.AdamW:
    """AdamW over what is trained, on float32 copies of narrower weights; the value head's rate is larger.

    Args:
        lr: effective learning rate of the policy.
        critic_lr_scale: the value head's over the policy's.
    """
    head = [p for n, p in network.named_parameters() if p.requires_grad and "value_head" in n]
    rest = [p for n, p in network.named_parameters() if p.requires_grad and "value_head" not in n]
    groups: list[dict[str, Any]] = [{"params": rest, "lr": lr, "scale": 1.0}]
    if head:
        groups.append({"params": head, "lr": lr * critic_lr_scale, "scale": critic_lr_scale})
    narrow = any(p.dtype != torch.float32 for group in groups for p in group["params"])
    kind = MasterAdamW if narrow else torch.optim.AdamW
    betas = (optim.beta1, optim.beta2)
    return kind(groups, lr=lr, betas=betas, weight_decay=optim.weight_decay)


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set the policy's learning rate, and the value head's in proportion."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group["scale"]
