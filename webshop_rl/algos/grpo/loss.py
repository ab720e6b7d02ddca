"""GRPO: the policy gradient on returns relative to the group's, a group being trajectories of one goal.

A_b = (R_b - mean R) / (std R + std_eps) over the group of b;   scale "none": R_b - mean R (Dr. GRPO)
L = -sum_t min(rho_t A, clip(rho_t) A),  rho_t = pi_t / behaviour_t;   -A sum_t log pi_t if one update
Source: GRPO, arXiv:2402.03300; Dr. GRPO, arXiv:2503.20783.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from webshop_rl.algos.advantages import group_advantages
from webshop_rl.algos.grpo.config import GrpoConfig
from webshop_rl.algos.relative import GroupPolicyGradient


@dataclass
class Grpo(GrpoConfig, GroupPolicyGradient):
    """Returns relative to the group's mean, in units of its spread."""

    def relative(self, returns: Tensor, group: Tensor) -> Tensor:
        """[B] returns less their group's mean, divided as `scale` says."""
        return group_advantages(returns, group, scale=self.scale, eps=self.std_eps)
