"""A*PO as a policy gradient.

A = R - V* - beta2 l,  l = sum_t log pi_t - log ref_t, held constant;  A_hat = clamp(normalised A)
L = -policy_coef A_hat sum_t log pi_t                              one update per collection
L = -policy_coef sum_t min(rho_t A_hat, clip(rho_t) A_hat)         more: rho_t = pi_t / behaviour_t
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from webshop_rl.algos.advantages import spread, to_tokens, vstar_advantages
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput, masked
from webshop_rl.algos.apo_pg.config import ApoPgConfig
from webshop_rl.algos.losses import policy_gradient


@dataclass
class ApoPg(ApoPgConfig, Algorithm):
    """Policy gradient on A*PO's advantage."""

    needs_vstar = True

    @property
    def needs_reference(self) -> bool:
        """For KL, and for l."""
        return self.kl_coef > 0 or self.beta2 > 0

    def advantages(self, batch: ActionBatch) -> Advantages:
        """The trajectory's advantage at each of its tokens [B, T]."""
        found = vstar_advantages(self, batch, self.beta2 + self.kl_reward_coef)
        used = masked(found.normalised, found.used)
        return Advantages(to_tokens(used, batch), found.metrics | spread("advantage_hat", used))

    def loss(self, inputs: LossInputs) -> LossOutput:
        """The policy gradient, policy_coef times, plus KL and entropy terms."""
        scaled = replace(inputs, advantages=self.policy_coef * inputs.advantages)
        return policy_gradient(self, scaled)
