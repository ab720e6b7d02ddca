"""A*PO as the regression of its paper: beta2 times the log-ratio to the reference is to be R - V*.

L = mean_b (beta2 l_b - (R_b - V*_b))^2,  l = sum_t log pi_t - log ref_t

With l = l at collection + sum_t log pi_t - log pi_t at collection the reference enters the advantage alone:
A = R - V* - beta2 l at collection, held constant;  A_hat = clamp(normalised A), A itself by default
L = mean_b (beta2 sum_t (log pi_t - log pi_t at collection) - A_hat_b)^2;  0 where A_hat is exactly 0
Source: A*-PO, arXiv:2505.20686.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.advantages import to_tokens, vstar_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput, masked
from webshop_rl.algos.apo_reg.config import ApoRegConfig
from webshop_rl.algos.losses import log_ratio, objective


@dataclass
class ApoReg(ApoRegConfig, Algorithm):
    """Regression of the policy's log-ratio on A*PO's advantage."""

    needs_vstar = True

    @property
    def needs_reference(self) -> bool:
        """For l at collection."""
        return True

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]; 0 for trajectories that are not used."""
        found = vstar_advantages(self, batch, self.beta2 + self.kl_reward_coef)
        return Advantages(to_tokens(masked(found.normalised, found.used), batch), found.metrics)

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The squared error, a mean over trajectories whatever loss_norm is, plus KL and entropy terms."""
        batch = inputs.batch
        moved = log_ratio(inputs.logprobs, batch.at_collection, batch.mask).sum(dim=1)
        error = squared_error(self.beta2 * moved, inputs.advantages, batch.decided)
        policy_loss = error.sum() / max(inputs.norm.num_trajectories, 1)
        others = objective(self, torch.zeros_like(inputs.logprobs), inputs)
        loss = policy_loss + others.loss
        changed = {"policy_loss": policy_loss.detach(), "loss": loss.detach()}
        return LossOutput(loss, others.metrics | changed)


def squared_error(moved: Tensor, advantages: Tensor, decided: Tensor) -> Tensor:
    """(moved - A)^2 per trajectory; exactly 0, its gradient too, where A is, or where nothing was decided.

    Args:
        moved: [B] beta2 times the policy's log-ratio to itself at collection, return units, with gradient.
        advantages: [B, T] constants, the same at each token of a trajectory.
        decided: [B, T] bool, True at decisions.
    Returns: [B].
    """
    target = masked(advantages, decided).sum(dim=1) / decided.sum(dim=1).clamp(min=1)
    return masked(moved - target, target != 0).square()
