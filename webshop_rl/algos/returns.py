"""Rewards to returns and advantages over time.

Axes: B trajectories, T action tokens, K turns, S steps (turns or tokens, whichever the caller means).
"""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.algos.batch import masked
from webshop_rl.algos.loss_norms import turn_lengths


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


def gae_turn_level(
    rewards_K: Tensor,
    values_K: Tensor,
    turn_mask: Tensor,
    last_value: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """gae over turns: V stands at the last prompt token of each turn. All [B, K]; returns [B, K]."""
    return gae(rewards_K, values_K, turn_mask, last_value, gamma=gamma, gae_lambda=gae_lambda)


def gae_token_level(
    rewards_T: Tensor, values_T: Tensor, mask: Tensor, last_value: Tensor, *, gamma: float, gae_lambda: float
) -> Tensor:
    """gae over action tokens, packed or with page tokens in between. All [B, T]; returns [B, T].

    rewards_T must stand at action tokens: token_rewards puts them there.
    """
    return gae(rewards_T, values_T, mask, last_value, gamma=gamma, gae_lambda=gae_lambda)


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
