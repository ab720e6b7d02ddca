"""GiGPO: groups within groups. An episode is compared with those of its goal, a turn with the turns that
replied to the same page.

G_bk = r_bk + gamma G_b,k+1                                       what followed turn k
A_bk = (R_b - mean R) / d + step_coef (G_bk - mean G) / d
the first mean over the group of b, the second over its turns at the page of turn k (anchor states), d as
in GRPO: the spread of the same plus std_eps, or 1. A page that was met once adds nothing.
L = -A sum_t log pi_t;   the clipped surrogate if a collection serves more updates than one
Source: arXiv:2505.10978.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.advantages import (
    advantage_metrics,
    gae,
    group_advantages,
    group_statistics,
    less_log_ratio,
    normalise,
    turns_to_tokens,
)
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.gigpo.config import GigpoConfig
from webshop_rl.algos.losses import policy_gradient


@dataclass
class Gigpo(GigpoConfig, Algorithm):
    """Returns relative to the group's, and what followed a turn relative to the turns at the same page."""

    needs_states = True

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The turn's advantage at each of its tokens [B, T].

        Raises: ValueError if the batch lacks the numbers of pages, or the reference where it is read.
        """
        if batch.state is None:
            raise ValueError(f"{self.name} needs the numbers of the pages that turns replied to")
        turns = batch.turn_mask
        of_episode = group_advantages(batch.returns.double(), batch.group, scale=self.scale, eps=self.std_eps)
        found = less_log_ratio(self, batch, of_episode, self.kl_reward_coef)

        # Turns of one page are a group like any other; the batch's turns in a row, [S].
        following = returns_to_go(batch, self.gamma)[turns]
        page = batch.state[turns]
        of_turn = group_advantages(following, page, scale=self.scale, eps=self.std_eps)
        raw = found.values.unsqueeze(1).expand(turns.shape)[turns] + self.step_coef * of_turn

        normalised = normalise(
            raw, how=self.adv_norm, std_min=self.adv_std_min, clip=self.adv_clip, scale=found.scale
        )
        metrics = found.metrics | advantage_metrics(raw, normalised)
        metrics["repeated_page_frac"] = float((group_statistics(following, page).size > 1).double().mean())
        per_turn = torch.zeros(turns.shape, dtype=torch.double, device=turns.device)
        per_turn = per_turn.masked_scatter(turns, normalised.values)
        tokens = turns_to_tokens(per_turn, batch.turn, batch.mask)
        return Advantages(tokens.to(batch.behaviour_logprobs.dtype), metrics)

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The policy gradient plus KL and entropy terms."""
        return policy_gradient(self, inputs)


def returns_to_go(batch: ActionBatch, gamma: float) -> Tensor:
    """G_bk = r_bk + gamma G_b,k+1, in float64 [B, K]: the advantage of a critic that says 0 of every page."""
    rewards = batch.rewards.double()
    nothing = torch.zeros_like(rewards)
    return gae(rewards, nothing, batch.turn_mask, nothing[:, 0], gamma=gamma, gae_lambda=1.0)
