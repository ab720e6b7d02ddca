"""GRPO: the policy gradient on returns relative to the group's, a group being trajectories of one goal.

A_b = (R_b - mean R) / (std R + std_eps) over the group of b;   scale "none": R_b - mean R (Dr. GRPO)
L = -sum_t min(rho_t A, clip(rho_t) A),  rho_t = pi_t / behaviour_t;   -A sum_t log pi_t if one update
Source: GRPO, arXiv:2402.03300; Dr. GRPO, arXiv:2503.20783.
"""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.advantages import group_advantages, to_tokens, trajectory_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.grpo.config import GrpoConfig
from webshop_rl.algos.losses import policy_gradient


@dataclass
class Grpo(GrpoConfig, Algorithm):
    """Returns relative to the group's mean, in units of its spread."""

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]."""
        returns = batch.returns.double()
        relative = group_advantages(returns, batch.group, scale=self.scale, eps=self.std_eps)
        found = trajectory_advantages(self, batch, relative, self.kl_reward_coef)
        return Advantages(to_tokens(found.normalised, batch), found.metrics)

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The policy gradient plus KL and entropy terms."""
        return policy_gradient(self, inputs)
