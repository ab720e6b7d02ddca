"""A*PO with a squared loss on the scaled advantage: an older system's loss, kept to be compared with.

L = mean_b (s_b - beta A_hat_b)^2,  s = sum_t log pi_t;  loss_norm "length": the mean over tokens, then turns
A = R - V*,  A_hat = clamp(normalised A)

Its minimum is a policy that gives each trajectory the log-prob beta A_hat. A log-prob is far below 0 and
beta A_hat is not, so a step raises that of every trajectory, bad ones too: -2 (beta A_hat - s) grad s.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from webshop_rl.algos.advantages import to_tokens, vstar_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput, masked
from webshop_rl.algos.apo_square.config import ApoSquareConfig
from webshop_rl.algos.losses import objective, token_weights


@dataclass
class ApoSquare(ApoSquareConfig, Algorithm):
    """Squared distance of a trajectory's log-prob from its scaled advantage."""

    needs_vstar = True

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]; 0 for trajectories that are not used."""
        found = vstar_advantages(self, batch, self.kl_reward_coef)
        return Advantages(to_tokens(masked(found.normalised, found.used), batch), found.metrics)

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The squared distance, a mean over trajectories, plus KL and entropy terms.

        It is exactly 0 where the advantage is: with nothing to compare it would be pure self-imitation.
        """
        batch = inputs.batch
        num_trajectories = max(inputs.norm.num_trajectories, 1)
        weights = token_weights(batch, inputs.norm, self.loss_norm, self.loss_divisor_tokens)
        summed = num_trajectories * (weights * masked(inputs.logprobs, batch.mask)).sum(dim=1)
        advantages = masked(inputs.advantages, batch.decided)
        target = self.beta * advantages.sum(dim=1) / batch.decided.sum(dim=1).clamp(min=1)
        policy_loss = masked((summed - target).square(), target != 0).sum() / num_trajectories
        others = objective(self, torch.zeros_like(inputs.logprobs), inputs)
        loss = policy_loss + others.loss
        return LossOutput(loss, others.metrics | {"policy_loss": policy_loss.detach(), "loss": loss.detach()})
