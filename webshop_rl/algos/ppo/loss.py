"""PPO with a critic, over turns (the default) or over action tokens.

d_k = r_k + gamma V_k+1 - V_k,  A_k = d_k + gamma gae_lambda A_k+1,  whitened over the steps there are
L = -sum_t min(rho_t A, clip(rho_t) A) + value_coef mean_k (V_k - (A_k + V_k at collection))^2 / 2
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from webshop_rl.algos.advantages import (
    advantage_metrics,
    gae,
    group_metrics,
    group_statistics,
    normalise,
    spread,
    sum_per_turn,
    token_rewards,
    turns_to_tokens,
)
from webshop_rl.algos.algorithm import ActionBatch, Advantages, Algorithm, LossInputs, LossOutput, masked
from webshop_rl.algos.losses import (
    clipped_surrogate,
    explained_variance,
    log_ratio,
    objective,
    ratio_metrics,
    value_loss,
)
from webshop_rl.algos.ppo.config import PpoConfig


@dataclass
class Ppo(PpoConfig, Algorithm):
    """PPO.

    At level "token" the batch's values, the critic's values and the value targets are [B, T], V before
    each action token; at level "turn" they are [B, K].
    """

    needs_critic = True

    @property
    def value_level(self) -> str:
        """As the setting `level`."""
        return self.level

    def advantages(self, batch: ActionBatch) -> Advantages:
        """GAE at each token [B, T], whitened, and what the critic should have said.

        Raises: ValueError if the batch lacks values, a last value that is asked for, or the reference.
        """
        steps = self._steps(batch)
        if batch.values is None or batch.values.shape != steps.shape:
            raise ValueError(
                f"{self.name} at level {self.level} needs the critic's values {list(steps.shape)}"
            )
        values = masked(batch.values, steps).double()
        rewards = self._rewards(batch)
        last_value = self._last_value(batch)
        raw = gae(rewards, values, steps, last_value, gamma=self.gamma, gae_lambda=self.gae_lambda)
        scale = torch.maximum(rewards.abs().max(), values.abs().max())
        found = normalise(
            raw[steps], how=self.adv_norm, std_min=self.adv_std_min, clip=self.adv_clip, scale=scale
        )
        whitened = torch.zeros_like(raw).masked_scatter(steps, found.values)
        targets = masked(raw + values, steps)
        metrics = advantage_metrics(raw[steps], found) | spread("value", values[steps])
        metrics |= group_metrics(group_statistics(batch.returns.double(), batch.group))
        metrics["value_target_mean"] = float(targets[steps].mean())
        metrics["explained_variance"] = explained_variance(values[steps], targets[steps])
        tokens = whitened if self.level == "token" else turns_to_tokens(whitened, batch.turn, batch.mask)
        dtype = batch.behaviour_logprobs.dtype
        return Advantages(tokens.to(dtype), metrics, targets.to(dtype))

    def loss(self, inputs: LossInputs) -> LossOutput:
        """Clipped surrogate, critic, KL and entropy terms.

        Raises: ValueError if the critic's values, now or at collection, or their targets are missing.
        """
        batch = inputs.batch
        norm = inputs.norm
        values = inputs.values
        value_targets = inputs.value_targets
        if values is None or value_targets is None or batch.values is None:
            raise ValueError(
                f"{self.name} needs the critic's values, now and at collection, and their targets"
            )
        surrogate = clipped_surrogate(self, inputs)
        output = objective(self, surrogate.loss, inputs)
        steps = self._steps(batch)
        num_steps = max(norm.num_tokens if self.level == "token" else norm.num_turns, 1)
        per_step, clipped = value_loss(values, batch.values, value_targets, steps, self.value_clip)
        critic = per_step.sum() / num_steps
        loss = output.loss + self.value_coef * critic
        metrics = output.metrics | ratio_metrics(surrogate, inputs)
        metrics |= {
            "value_loss": critic.detach(),
            "value_clipped_frac": clipped.to(critic.dtype).sum() / num_steps,
        }
        return LossOutput(loss, metrics | {"loss": loss.detach()})

    def _steps(self, batch: ActionBatch) -> Tensor:
        return batch.mask if self.level == "token" else batch.turn_mask

    def _rewards(self, batch: ActionBatch) -> Tensor:
        """Rewards per step in float64, less kl_coef times the log-ratio under the estimator k1."""
        rewards = masked(batch.rewards, batch.turn_mask).double()
        if self.level == "token":
            rewards = token_rewards(rewards, batch.turn, batch.mask, batch.turn_mask)
        if not self.kl_reward_coef:
            return rewards
        if batch.ref_logprobs is None:
            raise ValueError(f"{self.name} needs the reference's log-probs")
        x = log_ratio(batch.behaviour_logprobs, batch.ref_logprobs, batch.mask).double()
        if self.level == "turn":
            x = sum_per_turn(x, batch.turn, batch.mask, batch.turn_mask.shape[1])
        return rewards - self.kl_reward_coef * x

    def _last_value(self, batch: ActionBatch) -> Tensor:
        """What follows the last step, float64 [B]: 0, or V of the last page where truncation bootstraps."""
        nothing = torch.zeros(batch.terminated.shape, dtype=torch.double, device=batch.mask.device)
        if not self.bootstrap_truncated:
            return nothing
        if batch.last_value is None:
            raise ValueError(
                f"{self.name} with bootstrap_truncated needs the critic's value of the last page"
            )
        return torch.where(batch.terminated, nothing, batch.last_value.double())
