"""From a policy loss per token to the loss of a micro-batch: normalisation, KL, entropy, metrics.

Axes: b trajectories of a micro-batch, T action tokens.
"""

from __future__ import annotations

from torch import Tensor

from webshop_rl.algos.batch import LossInputs, LossOutput, masked
from webshop_rl.algos.kl import k3, kl_estimate, log_ratio
from webshop_rl.algos.loss_norms import token_weights
from webshop_rl.algos.policy_losses import ClippedRatio
from webshop_rl.config.groups import AlgoConfig


def objective(settings: AlgoConfig, policy: Tensor, inputs: LossInputs) -> LossOutput:
    """sum_bt w_bt (policy_bt + kl_loss_coef KL_bt - entropy_coef H_bt), w as loss_norm says.

    All three terms share the weights, so kl_coef and entropy_coef mean the same under every loss_norm.

    Args:
        settings: the loss_norm, KL and entropy fields are read.
        policy: [b, T] loss of the policy per token, with gradient.
        inputs: of the micro-batch.
    Raises: ValueError if a term is asked for whose input is missing.
    """
    logprobs, batch, norm, entropy = inputs.logprobs, inputs.batch, inputs.norm, inputs.entropy
    mask, decided, decisions = batch.mask, batch.decided, max(norm.num_decisions, 1)
    weights = token_weights(batch, norm, settings.loss_norm, settings.loss_divisor_tokens)
    loss = policy_loss = (weights * masked(policy, mask)).sum()
    metrics = {
        "policy_loss": policy_loss.detach(),
        "nll": -masked(logprobs.detach(), decided).sum() / decisions,
    }
    if batch.ref_logprobs is not None:
        x = log_ratio(logprobs, batch.ref_logprobs, mask)
        metrics["kl"] = masked(k3(x.detach()), decided).sum() / decisions
        if settings.kl_loss_coef:
            kl_loss = settings.kl_loss_coef * (weights * kl_estimate(x, settings.kl_estimator)).sum()
            loss = loss + kl_loss
            metrics["kl_loss"] = kl_loss.detach()
    elif settings.kl_loss_coef:
        raise ValueError(f"{settings.name} needs the reference's log-probs")
    if entropy is not None:
        metrics["entropy"] = masked(entropy.detach(), decided).sum() / decisions
        if settings.entropy_coef:
            loss = loss - settings.entropy_coef * (weights * masked(entropy, mask)).sum()
    elif settings.entropy_coef:
        raise ValueError(f"{settings.name} needs the entropy")
    return LossOutput(loss, metrics | {"loss": loss.detach()})


def ratio_metrics(surrogate: ClippedRatio, inputs: LossInputs) -> dict[str, Tensor]:
    """How far the policy has moved from its sampler: ratio_mean, ratio_clipped_frac, kl_behaviour.

    The tokens are samples of the behaviour policy, so the divergence they estimate is
    KL(behaviour || policy), by k3 of log behaviour - log policy. All three are means over decisions: a
    forced token has ratio 1 under every policy.
    """
    batch, decisions = inputs.batch, max(inputs.norm.num_decisions, 1)
    decided = batch.decided
    x = log_ratio(inputs.logprobs.detach(), batch.behaviour_logprobs, batch.mask)
    return {
        "ratio_mean": masked(surrogate.ratio, decided).sum() / decisions,
        "ratio_clipped_frac": (surrogate.clipped & decided).to(x.dtype).sum() / decisions,
        "kl_behaviour": masked(k3(-x), decided).sum() / decisions,
    }
