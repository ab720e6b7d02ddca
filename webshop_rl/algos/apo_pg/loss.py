"""A*PO as a policy gradient.

A = R - V* - beta2 l,  l = sum_t log pi_t - log ref_t, held constant;  A_hat = clamp(normalised A)
L = -policy_coef A_hat sum_t log pi_t                              one update per collection
L = -policy_coef sum_t min(rho_t A_hat, clip(rho_t) A_hat)         more: rho_t = pi_t / behaviour_t
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from webshop_rl.algos.apo_pg.config import ApoPgConfig
from webshop_rl.algos.batch import ActionBatch, Advantages, LossOutput, Norm, masked
from webshop_rl.algos.config import check_fields
from webshop_rl.algos.metrics import spread
from webshop_rl.algos.objective import objective, ratio_metrics
from webshop_rl.algos.policy_losses import clipped_surrogate, weighted_nll
from webshop_rl.algos.vstar import to_tokens, vstar_advantages


@dataclass
class ApoPg(ApoPgConfig):
    """Policy gradient on A*PO's advantage; an algorithm in the sense of batch.Algorithm."""

    needs_vstar = True
    needs_critic = False
    value_level = "turn"

    def __post_init__(self) -> None:
        check_fields(self)
        self.needs_reference = self.kl_coef > 0 or self.beta2 > 0
        self.needs_entropy = self.entropy_coef > 0

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]."""
        found = vstar_advantages(self, batch, self.beta2 + self.kl_reward_coef)
        used = masked(found.normalised, found.used)
        return Advantages(to_tokens(used, batch), found.metrics | spread("advantage_hat", used))

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
        """The policy gradient plus KL and entropy terms; see batch.Algorithm."""
        advantages = self.policy_coef * advantages
        if self.one_update:
            # No ratio: it is 1 but for the noise between sampler and learner, which would only scale tokens.
            policy = weighted_nll(logprobs, advantages, batch.mask)
            return objective(self, policy, logprobs, batch, norm, entropy)
        surrogate = clipped_surrogate(
            logprobs, batch.behaviour_logprobs, advantages, batch.mask, self.clip_eps
        )
        output = objective(self, surrogate.loss, logprobs, batch, norm, entropy)
        return LossOutput(output.loss, output.metrics | ratio_metrics(surrogate, logprobs, batch, norm))
