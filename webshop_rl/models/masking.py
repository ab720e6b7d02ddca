"""Which tokens a decoding mask lets through, as recorded with each sampled token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class TokenMask:
    """A set of token ids, or its complement.

    Attributes:
        ids: sorted ids.
        complement: False lets exactly `ids` through, True everything but `ids`.
    """

    ids: NDArray[np.int64]
    complement: bool = False

    @property
    def forced(self) -> int | None:
        """The only token let through, or None if there is a choice."""
        return int(self.ids[0]) if not self.complement and len(self.ids) == 1 else None

    def admits(self, token: int) -> bool:
        """Whether a token is let through."""
        return bool(token in self.ids) != self.complement


def only(ids: set[int] | list[int]) -> TokenMask:
    """A mask that lets exactly these ids through."""
    return TokenMask(np.array(sorted(ids), dtype=np.int64))


def everything_but(ids: set[int] | list[int]) -> TokenMask:
    """A mask that lets all but these ids through."""
    return TokenMask(np.array(sorted(ids), dtype=np.int64), complement=True)


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
