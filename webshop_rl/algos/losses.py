"""Losses: of the policy per action token, their sum with KL and entropy terms, and the critic's.

Axes: B trajectories of the optimiser batch, b of them in a micro-batch, T action tokens, K turns, S steps
(turns or tokens). A normalisation is a weight per token, which depends only on the trajectory itself and on
the sizes of the whole batch: the shares of the micro-batches add up to the loss of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from webshop_rl.algos.algorithm import ActionBatch, LossInputs, LossOutput, Norm, masked
from webshop_rl.algos.config import RatioAlgoConfig
from webshop_rl.config.groups import AlgoConfig

LOG_RATIO_MAX = 20.0  # nats: exp(20) is 5e8, still far from overflow in float32


def log_ratio(logprobs: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """x = clamp(logprobs - other, -20, 20) at action tokens, 0 elsewhere.

    Args:
        logprobs: [B, T] log-probs of the policy, nats; the gradient flows through them.
        other: [B, T] log-probs of the reference or the behaviour policy, nats.
        mask: [B, T] bool, True at action tokens; anything may stand outside, NaN included.
    Returns: [B, T] nats.
    """
    return masked(logprobs - other, mask).clamp(-LOG_RATIO_MAX, LOG_RATIO_MAX)


def k1(x: Tensor) -> Tensor:
    """x: unbiased, high variance. As a loss its gradient is 0 on average, so it belongs in the reward."""
    return x


def k2(x: Tensor) -> Tensor:
    """x^2 / 2: biased, but its on-policy gradient is that of KL(policy || reference)."""
    return x.square() / 2


def k3(x: Tensor) -> Tensor:
    """e^-x - 1 + x: unbiased, low variance, never negative; its gradient as a loss is biased.

    Source: J. Schulman, Approximating KL divergence, http://joschu.net/blog/kl-approx.html
    """
    return torch.expm1(-x) + x


def kl_estimate(x: Tensor, estimator: str) -> Tensor:
    """Estimate of KL(policy || other) per token by name, "k1", "k2" or "k3"; x = log policy - log other."""
    return {"k1": k1, "k2": k2, "k3": k3}[estimator](x)


def weighted_nll(logprobs: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """-w log pi per token: the policy gradient where w is an advantage, cloning where w is positive.

    Args:
        logprobs: [B, T] log-probs of the policy, with gradient.
        weights: [B, T] constants.
        mask: [B, T] bool.
    Returns: [B, T], exactly 0 outside the mask and where the weight is 0.
    """
    used = mask & (weights != 0)  # 0 * -inf would be NaN
    return -masked(weights, mask) * masked(logprobs, used)


@dataclass(frozen=True)
class ClippedRatio:
    """Per-token loss of the clipped surrogate, with the ratio and where the clip took the gradient."""

    loss: Tensor  # [B, T]
    ratio: Tensor  # [B, T] detached, 0 outside the mask
    clipped: Tensor  # [B, T] bool


def pooled_log_ratio(x: Tensor, decided: Tensor, over: str) -> Tensor:
    """The log-ratio whose exponential is clipped, at each token.

        token        x_t
        sequence     mean of x over the trajectory's decisions, at each of them
        trajectory   sum of x over the trajectory's decisions, at each of them
    A token's gradient is always that of its own x_t, so that tokens of one trajectory may have
    different advantages, and the gradient at ratio 1 is the same under all three.

    Args:
        x: [B, T] log-ratio of policy and behaviour policy, nats, 0 outside the mask.
        decided: [B, T] bool, True at decisions; a forced token keeps its own x.
        over: one of the three names.
    Returns: [B, T] nats, in [-20, 20].
    Source: GSPO, arXiv:2507.18071, there as GSPO-token.
    """
    if over == "token":
        return x
    if over not in ("sequence", "trajectory"):
        raise ValueError(f"unknown ratio {over!r}")
    own = x.detach()
    pooled = masked(own, decided).sum(dim=1, keepdim=True)
    if over == "sequence":
        pooled = pooled / decided.sum(dim=1, keepdim=True).clamp(min=1)
    pooled = pooled.clamp(-LOG_RATIO_MAX, LOG_RATIO_MAX)
    return torch.where(decided, pooled, own) + (x - own)


def clipped_surrogate(settings: RatioAlgoConfig, inputs: LossInputs) -> ClippedRatio:
    """-min(rho A, clamp(rho, 1 - clip_eps, 1 + clip_eps_high) A), rho = pi / pi_behaviour as `ratio` says.

    At rho = 1 its gradient is that of -A log pi.

    Args:
        settings: ratio, clip_eps and clip_eps_high are read.
        inputs: of the micro-batch.
    Source: PPO, arXiv:1707.06347; two widths: DAPO, arXiv:2503.14476.
    """
    batch = inputs.batch
    mask = batch.mask
    x = log_ratio(inputs.logprobs, batch.behaviour_logprobs, mask)
    ratio = masked(pooled_log_ratio(x, batch.decided, settings.ratio).exp(), mask)
    advantages = masked(inputs.advantages, mask)
    high = settings.clip_eps if settings.clip_eps_high is None else settings.clip_eps_high
    bounded = ratio.clamp(1 - settings.clip_eps, 1 + high)
    plain, safe = ratio * advantages, bounded * advantages
    return ClippedRatio(-torch.minimum(plain, safe), ratio.detach(), (safe < plain).detach() & mask)


def token_weights(batch: ActionBatch, norm: Norm, loss_norm: str, divisor_tokens: float) -> Tensor:
    """Weights w such that the loss of per-token terms l is sum_bt w_bt l_bt.

        trajectory_sum   1 / B                          sum over tokens, mean over trajectories
        token_mean       1 / (decisions of the batch)   0 at forced tokens
        constant         1 / (B divisor_tokens)
        length           1 / (B K_b n_bk)               mean over a turn's n_bk tokens, then over turns

    The first three give all tokens of the batch the same weight. "length" is what older systems did: a
    token of a short trajectory counts for more. docs/algorithms.md, "Loss", has what came of it.

    Args:
        batch: b trajectories; mask, decision, turn and turn_mask are read.
        norm: sizes of the whole optimiser batch.
        loss_norm: one of the four names.
        divisor_tokens: divisor of "constant", tokens.
    Returns: [b, T] in the dtype of behaviour_logprobs, 0 outside the mask.
    """
    dtype = batch.behaviour_logprobs.dtype
    mask = batch.mask.to(dtype)
    trajectories = max(norm.num_trajectories, 1)
    if loss_norm == "trajectory_sum":
        return mask / trajectories
    if loss_norm == "token_mean":
        # Forced tokens have no gradient; counted, they would only shrink the loss beside a critic's.
        return batch.decided.to(dtype) / max(norm.num_decisions, 1)
    if loss_norm == "constant":
        return mask / (trajectories * divisor_tokens)
    if loss_norm != "length":
        raise ValueError(f"unknown loss_norm {loss_norm!r}")
    tokens = turn_lengths(batch.mask, batch.turn, batch.turn_mask.shape[1])
    turns = (tokens > 0).sum(dim=1, keepdim=True).clamp(min=1)
    per_turn = tokens.clamp(min=1) * turns * trajectories
    return mask / per_turn.gather(1, torch.where(batch.mask, batch.turn, 0)).to(dtype)


def turn_lengths(mask: Tensor, turn: Tensor, num_turns: int) -> Tensor:
    """[B, K] long, action tokens of each turn, from mask and turn [B, T]."""
    lengths = torch.zeros(mask.shape[0], num_turns, dtype=torch.long, device=mask.device)
    return lengths.scatter_add_(1, torch.where(mask, turn, 0), mask.long())


def objective(settings: AlgoConfig, policy: Tensor, inputs: LossInputs) -> LossOutput:
    """sum_bt w_bt (policy_bt + kl_loss_coef KL_bt - entropy_coef H_bt), w as loss_norm says.

    All three terms share the weights, so kl_coef and entropy_coef mean the same under every loss_norm; the
    policy's has the batch's sampler_weights as a further factor, where there are any. KL, entropy and the
    means that are logged are of what the policy played: no replayed trajectory is in them.

    Args:
        settings: the loss_norm, KL and entropy fields are read.
        policy: [b, T] loss of the policy per token, with gradient.
        inputs: of the micro-batch.
    Raises: ValueError if a term is asked for whose input is missing.
    """
    logprobs = inputs.logprobs
    batch = inputs.batch
    norm = inputs.norm
    entropy = inputs.entropy
    mask = batch.mask
    decided = batch.decided & batch.own.unsqueeze(1)
    decisions = max(norm.num_decisions - norm.num_replayed_decisions, 1)
    weights = token_weights(batch, norm, settings.loss_norm, settings.loss_divisor_tokens)
    sampled = weights if batch.sampler_weights is None else weights * batch.sampler_weights
    loss = policy_loss = (sampled * masked(policy, mask)).sum()
    weights = masked(weights, batch.own.unsqueeze(1))
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
    batch = inputs.batch
    decisions = max(inputs.norm.num_decisions, 1)
    decided = batch.decided
    x = log_ratio(inputs.logprobs.detach(), batch.behaviour_logprobs, batch.mask)
    return {
        "ratio_mean": masked(surrogate.ratio, decided).sum() / decisions,
        "ratio_clipped_frac": (surrogate.clipped & decided).to(x.dtype).sum() / decisions,
        "kl_behaviour": masked(k3(-x), decided).sum() / decisions,
    }


def policy_gradient(settings: RatioAlgoConfig, inputs: LossInputs) -> LossOutput:
    """-A log pi where the policy is the sampler, else the clipped surrogate; KL and entropy terms.

    Where a collection serves one update and nothing in it is replayed no ratio is taken: it is 1 but for the
    noise between sampler and learner, which would only scale tokens.
    """
    logprobs = inputs.logprobs
    batch = inputs.batch
    if settings.one_update and batch.replayed is None:
        return objective(settings, weighted_nll(logprobs, inputs.advantages, batch.mask), inputs)
    surrogate = clipped_surrogate(settings, inputs)
    output = objective(settings, surrogate.loss, inputs)
    return replace(output, metrics=output.metrics | ratio_metrics(surrogate, inputs))


def value_loss(
    values: Tensor, old_values: Tensor, targets: Tensor, mask: Tensor, clip: float | None
) -> tuple[Tensor, Tensor]:
    """Half the squared error per step; with a clip, the worse of the free and the bounded move.

        v_c = old + clamp(v - old, -clip, clip),   loss = max((v - target)^2, (v_c - target)^2) / 2

    Args:
        values: [B, S] the critic's values, with gradient, return units.
        old_values: [B, S] the same at collection.
        targets: [B, S] what they should be.
        mask: [B, S] bool; anything may stand outside.
        clip: half-width of the move, return units, or None.
    Returns: loss [B, S], 0 outside the mask; [B, S] bool, where the bounded move gave the loss.
    Source: PPO's reference implementation; arXiv:2006.05990 finds the clip of no use.
    """
    values, old, targets = (masked(values, mask), masked(old_values, mask), masked(targets, mask))
    free = (values - targets).square()
    if clip is None:
        return free / 2, torch.zeros_like(mask)
    bounded = (old + (values - old).clamp(-clip, clip) - targets).square()
    return torch.maximum(free, bounded) / 2, (bounded > free).detach()


def explained_variance(values: Tensor, targets: Tensor) -> float:
    """1 - Var(targets - values) / Var(targets) of [N] steps; 0 where the targets do not vary."""
    variance = targets.var(correction=0)
    if float(variance) == 0.0:
        return 0.0
    return float(1 - (targets - values).var(correction=0) / variance)
