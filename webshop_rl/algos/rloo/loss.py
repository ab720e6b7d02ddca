"""RLOO: the policy gradient on returns less the mean of the rest of the group ("leave one out").

A_b = R_b - sum_{c != b} R_c / (N - 1) = (R_b - mean R) N / (N - 1) over the group of b, N trajectories
L = -A sum_t log pi_t;   the clipped surrogate if a collection serves more updates than one
Source: arXiv:2402.14740.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from webshop_rl.algos.advantages import group_advantages, group_statistics
from webshop_rl.algos.relative import GroupPolicyGradient
from webshop_rl.algos.rloo.config import RlooConfig


@dataclass
class Rloo(RlooConfig, GroupPolicyGradient):
    """Returns relative to the mean of the others: a baseline that does not depend on the trajectory."""

    def relative(self, returns: Tensor, group: Tensor) -> Tensor:
        """[B] returns less the mean of their group's others; 0 for a group of one."""
        size = group_statistics(returns, group).size
        return group_advantages(returns, group, scale="none", eps=0.0) * size / (size - 1).clamp(min=1)
