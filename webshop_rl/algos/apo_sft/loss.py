"""A*PO as weighted self-imitation: clone own trajectories, the better than V* the more.

A = R - V*,  A_hat = clamp((A - mean A) / std A, -adv_clip, adv_clip)
w = clamp(1 + A_hat, weight_min, weight_max)   or   clamp(exp(A / awr_beta), weight_min, weight_max)
L = -(w - weight_baseline) sum_t log pi_t,  exactly 0 where there is nothing to compare
"""

from __future__ import annotations

from dataclasses import dataclass

from webshop_rl.algos.advantages import spread, to_tokens, vstar_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput, masked
from webshop_rl.algos.apo_sft.config import ApoSftConfig
from webshop_rl.algos.losses import objective, weighted_nll

EXPONENT_MAX = 20.0  # exp(20) is far above any sensible weight_max, and far from overflow


@dataclass
class ApoSft(ApoSftConfig, Algorithm):
    """Weighted self-imitation."""

    needs_vstar = True

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

    def loss(self, inputs: LossInputs) -> LossOutput:
        """Weighted cross-entropy of the sampled tokens plus KL and entropy terms."""
        return objective(self, weighted_nll(inputs.logprobs, inputs.advantages, inputs.batch.mask), inputs)
