"""A*PO as weighted self-imitation: clone own trajectories, the better than V* the more.

A = R - V*,  A_hat = clamp((A - mean A) / std A, -adv_clip, adv_clip)
w = clamp(1 + A_hat, weight_min, weight_max)   or   clamp(exp(A / awr_beta), weight_min, weight_max)
L = -(w - weight_baseline) sum_t log pi_t,  exactly 0 where there is nothing to compare
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from webshop_rl.algos.apo_sft.config import ApoSftConfig
from webshop_rl.algos.batch import ActionBatch, Advantages, LossOutput, Norm, masked
from webshop_rl.algos.config import check_fields
from webshop_rl.algos.metrics import spread
from webshop_rl.algos.objective import objective
from webshop_rl.algos.policy_losses import weighted_nll
from webshop_rl.algos.vstar import to_tokens, vstar_advantages

EXPONENT_MAX = 20.0  # exp(20) is far above any sensible weight_max, and far from overflow


@dataclass
class ApoSft(ApoSftConfig):
    """Weighted self-imitation; an algorithm in the sense of batch.Algorithm, its fields are its settings."""

    needs_vstar = True
    needs_critic = False
    value_level = "turn"

    def __post_init__(self) -> None:
        check_fields(self)
        self.needs_reference = self.kl_coef > 0
        self.needs_entropy = self.entropy_coef > 0

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The weights (less weight_baseline) as tokens [B, T]; 0 for trajectories that are not used."""
        found = vstar_advantages(self, batch, self.kl_reward_coef)
        if self.weight == "awr":
            weights = (found.raw / self.awr_beta).clamp(max=EXPONENT_MAX).exp()
        else:
            weights = 1 + found.normalised
        bounded = weights.clamp(self.weight_min, self.weight_max)
        metrics = found.metrics | spread("weight", masked(bounded, found.used))
        metrics["weight_clipped_frac"] = float((bounded != weights).double().mean())
        return Advantages(to_tokens(masked(bounded - self.weight_baseline, found.used), batch), metrics)

    def loss(
        self,
        logprobs: Tensor,
        batch: ActionBatch,
        advantages: Tensor,
        norm: Norm,
        *,
        entropy: Tensor | None = None,
        values: Tensor | None = None,
        value_targets: Tensor | None = None,
    ) -> LossOutput:
        """Weighted cross-entropy of the sampled tokens plus KL and entropy terms; see batch.Algorithm."""
        policy = weighted_nll(logprobs, advantages, batch.mask)
        return objective(self, policy, logprobs, batch, norm, entropy)
