"""Decoding masks applied to logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from webshop_rl.interface.masks import TokenMask


def apply_masks(logits: Tensor, masks: list[TokenMask | None]) -> Tensor:
    """Set the logits of tokens not let through to -inf.

    Args:
        logits: [N, V] of N decisions.
        masks: one a decision; None lets everything through.
    Returns: [N, V]; the same tensor if no mask restricts anything.
    """
    if all(mask is None for mask in masks):
        return logits
    rows, ids, keep = [], [], []
    complement_rows = []
    for row, mask in enumerate(masks):
        if mask is None or mask.complement:
            complement_rows.append(row)
        if mask is not None:
            rows.append(np.full(len(mask.ids), row))
            ids.append(mask.ids)
            keep.append(np.full(len(mask.ids), not mask.complement))
    passed = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)
    passed[complement_rows] = True
    index = torch.as_tensor(np.stack([np.concatenate(rows), np.concatenate(ids)]), device=logits.device)
    passed[index[0], index[1]] = torch.as_tensor(np.concatenate(keep), device=logits.device)
    return logits.masked_fill(~passed, -torch.inf)
