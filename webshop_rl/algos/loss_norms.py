"""From per-token losses to a scalar: every normalisation is a weight per token.

Axes: B trajectories of the optimiser batch, b of them in a micro-batch, T action tokens, K turns.
A weight depends only on the trajectory itself and on the sizes of the whole batch, so the shares of
the micro-batches add up to the loss of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.algos.batch import ActionBatch, Norm


def token_weights(batch: ActionBatch, norm: Norm, loss_norm: str, divisor_tokens: float) -> Tensor:
    """Weights w such that the loss of per-token terms l is sum_bt w_bt l_bt.

        trajectory_sum   1 / B                          sum over tokens, mean over trajectories
        token_mean       1 / (decisions of the batch)   0 at forced tokens
        constant         1 / (B divisor_tokens)
        length           1 / (B K_b n_bk)               mean over a turn's n_bk tokens, then over turns

    The first three give all tokens of the batch the same weight. "length" is what older systems did: a
    token of a short trajectory counts for more. docs/algorithms.md, "Loss", has what came of it.

    Args:
        batch: b trajectories; mask, decision, turn and turn_mask are read.
        norm: sizes of the whole optimiser batch.
        loss_norm: one of the four names.
        divisor_tokens: divisor of "constant", tokens.
    Returns: [b, T] in the dtype of behaviour_logprobs, 0 outside the mask.
    """
    dtype = batch.behaviour_logprobs.dtype
    mask = batch.mask.to(dtype)
    trajectories = max(norm.num_trajectories, 1)
    if loss_norm == "trajectory_sum":
        return mask / trajectories
    if loss_norm == "token_mean":
        # Forced tokens have no gradient; counted, they would only shrink the loss beside a critic's.
        return batch.decided.to(dtype) / max(norm.num_decisions, 1)
    if loss_norm == "constant":
        return mask / (trajectories * divisor_tokens)
    if loss_norm != "length":
        raise ValueError(f"unknown loss_norm {loss_norm!r}")
    tokens = turn_lengths(batch.mask, batch.turn, batch.turn_mask.shape[1])
    turns = (tokens > 0).sum(dim=1, keepdim=True).clamp(min=1)
    per_turn = tokens.clamp(min=1) * turns * trajectories
    return mask / per_turn.gather(1, torch.where(batch.mask, batch.turn, 0)).to(dtype)


def turn_lengths(mask: Tensor, turn: Tensor, num_turns: int) -> Tensor:
    """[B, K] long, action tokens of each turn, from mask and turn [B, T]."""
    lengths = torch.zeros(mask.shape[0], num_turns, dtype=torch.long, device=mask.device)
    return lengths.scatter_add_(1, torch.where(mask, turn, 0), mask.long())
