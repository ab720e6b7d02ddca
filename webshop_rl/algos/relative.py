"""What the algorithms share whose baseline is the rest of the trajectory's group.

Axes: B trajectories, T action tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from webshop_rl.algos.advantages import group_statistics, normalise
from webshop_rl.algos.algorithm import PolicyGradient
from webshop_rl.algos.batch import ActionBatch, Advantages, masked
from webshop_rl.algos.kl import log_ratio
from webshop_rl.algos.metrics import advantage_metrics, group_metrics
from webshop_rl.algos.vstar import to_tokens
from webshop_rl.errors import UserError


class GroupPolicyGradient(PolicyGradient):
    """A = relative(R) - kl_reward_coef l, normalised as adv_norm says; the loss of PolicyGradient.

    l is the trajectory's log-ratio to the reference, held constant; its coefficient is not 0 under k1 alone.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group_size < 2:
            raise UserError(
                f"{self.name} compares trajectories of a goal: one has nothing to be compared with",
                where="algo.group_size",
                remedy="set it to 2 or more",
            )

    def relative(self, returns: Tensor, group: Tensor) -> Tensor:
        """Returns [B] compared within the groups numbered by group [B] long; 0 in a group of equal ones."""
        raise NotImplementedError

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T].

        Raises: ValueError if the reference is missing under k1, or an advantage is not finite.
        """
        returns, coef, metrics = batch.returns.double(), self.kl_reward_coef, {}
        raw, scale = self.relative(returns, batch.group), returns.abs().max()
        if batch.ref_logprobs is not None:
            behaviour = masked(batch.behaviour_logprobs, batch.mask).double()
            summed = log_ratio(behaviour, batch.ref_logprobs.double(), batch.mask).sum(dim=1)
            metrics["kl_trajectory"] = float(summed.mean())
            raw = raw - coef * summed
            scale = torch.maximum(scale, coef * behaviour.abs().sum(dim=1).max())
        elif coef:
            raise ValueError(f"{self.name} needs the reference's log-probs")
        found = normalise(raw, how=self.adv_norm, std_min=self.adv_std_min, clip=self.adv_clip, scale=scale)
        metrics |= advantage_metrics(raw, found) | group_metrics(group_statistics(returns, batch.group))
        return Advantages(to_tokens(found.values, batch), metrics)
