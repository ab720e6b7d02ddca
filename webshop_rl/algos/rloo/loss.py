"""RLOO: the policy gradient on returns less the mean of the rest of the group ("leave one out").

A_b = R_b - sum_{c != b} R_c / (N - 1) = (R_b - mean R) N / (N - 1) over the group of b, N trajectories
L = -A sum_t log pi_t;   the clipped surrogate if a collection serves more updates than one
Source: arXiv:2402.14740.
"""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.advantages import group_advantages, group_statistics, to_tokens, trajectory_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput
from webshop_rl.algos.losses import policy_gradient
from webshop_rl.algos.rloo.config import RlooConfig


@dataclass
class Rloo(RlooConfig, Algorithm):
    """Returns relative to the mean of the others: a baseline that does not depend on the trajectory."""

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]; 0 in a group of one."""
        returns = batch.returns.double()
        size = group_statistics(returns, batch.group).size
        centred = group_advantages(returns, batch.group, scale="none", eps=0.0)
        relative = centred * size / (size - 1).clamp(min=1)
        found = trajectory_advantages(self, batch, relative, self.kl_reward_coef)
        return Advantages(to_tokens(found.normalised, batch), found.metrics)

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The policy gradient plus KL and entropy terms."""
        return policy_gradient(self, inputs)
