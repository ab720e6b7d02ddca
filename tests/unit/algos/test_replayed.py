"""What a trajectory of an earlier policy does to advantages, loss and gradient, worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.loss import ApoReg
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.training.batching import norm_of

D = torch.double


def batch_of(behaviour: list[float], policy: list[float], **change: Any) -> ActionBatch:
    """One token a trajectory, of one goal; the first failed just now, the second succeeded some time ago."""
    yes = torch.ones(2, 1, dtype=torch.bool)
    whole: dict[str, Any] = {
        "behaviour_logprobs": torch.tensor(behaviour, dtype=D)[:, None],
        "policy_logprobs": torch.tensor(policy, dtype=D)[:, None],
        "ref_logprobs": torch.tensor([[-1.0], [-1.0]], dtype=D),
        "mask": yes,
        "decision": yes,
        "turn": torch.zeros(2, 1, dtype=torch.long),
        "rewards": torch.tensor([[0.0], [1.0]], dtype=D),
        "turn_mask": yes,
        "terminated": yes[:, 0],
        "group": torch.zeros(2, dtype=torch.long),
        "vstar": torch.tensor([0.25, 0.25], dtype=D),
        "replayed": torch.tensor([False, True]),
    }
    return ActionBatch(**(whole | change))


def gradient(algorithm: Any, batch: ActionBatch, logprobs: list[float]) -> tuple[Tensor, dict[str, float]]:
    """d loss / d log-probs [2], and the metrics."""
    now = torch.tensor(logprobs, dtype=D)[:, None].requires_grad_()
    advantages = algorithm.advantages(batch).tokens
    output = algorithm.loss(LossInputs(now, batch, advantages, norm_of(batch)))
    output.loss.backward()
    assert now.grad is not None
    return now.grad[:, 0], {name: float(value) for name, value in output.metrics.items()}


def grpo(**change: Any) -> Grpo:
    return Grpo(**algo_settings("grpo", scale="none", **change))


@pytest.mark.parametrize(
    ("sampled_at", "now", "expected"),
    [
        # A = 1 - .5, ratio e^-.5: below the clip a good trajectory keeps its own gradient, -.5 x .6065 / 2.
        (-1.0, -1.5, -0.25 * math.exp(-0.5)),
        (-1.0, -1.0, -0.25),
        # Ratio e^.5 = 1.65 > 1.2: likelier than when it was sampled by more than the clip.
        (-1.0, -0.5, 0.0),
    ],
)
def test_a_policy_gradient_weighs_it_by_the_clipped_ratio_with_one_update_too(
    sampled_at: float, now: float, expected: float
) -> None:
    batch = batch_of([-2.0, sampled_at], [-2.0, now])
    assert grpo().one_update
    found, metrics = gradient(grpo(), batch, [-2.0, now])
    # The own trajectory: ratio 1, A = 0 - .5, so .5 / 2.
    assert found.tolist() == pytest.approx([0.25, expected])
    assert metrics["ratio_clipped_frac"] == (0.5 if expected == 0 else 0.0)


def test_without_one_no_ratio_is_taken() -> None:
    batch = batch_of([-2.0, -1.0], [0.0, 0.0], replayed=None, policy_logprobs=None)
    found, metrics = gradient(grpo(), batch, [-2.0, -1.5])
    assert found.tolist() == pytest.approx([0.25, -0.25])
    assert "ratio_mean" not in metrics


def test_the_log_ratio_in_the_advantage_is_that_of_the_policy_not_of_the_sampler() -> None:
    settings = {"beta2": 0.5, "adv_norm": "none", "adv_clip": None}
    found = ApoPg(**algo_settings("apo_pg", **settings)).advantages(batch_of([-2.0, -3.0], [-2.0, -1.5]))
    # R - V* - .5 (log pi - log ref): 0 - .25 - .5 (-2 + 1) and 1 - .25 - .5 (-1.5 + 1)
    assert found.tokens[:, 0].tolist() == pytest.approx([0.25, 1.0])
    assert found.metrics["kl_trajectory"] == pytest.approx(-1.0)  # of the own trajectory


def test_the_regression_has_one_target_whoever_sampled() -> None:
    """(beta2 (log pi - log ref) - (R - V*))^2 / 2 trajectories, of a policy that has moved since."""
    algorithm = ApoReg(**algo_settings("apo_reg", beta2=0.5))
    now = [-1.8, -1.2]
    errors = [0.5 * (now[0] + 1) - (0.0 - 0.25), 0.5 * (now[1] + 1) - (1.0 - 0.25)]
    for sampled_at in (-3.0, -0.1):
        found, metrics = gradient(algorithm, batch_of([-2.0, sampled_at], [-2.0, -1.5]), now)
        assert metrics["policy_loss"] == pytest.approx(sum(e * e for e in errors) / 2)
        assert found.tolist() == pytest.approx([0.5 * e for e in errors])


def test_self_imitation_clones_it_by_its_weight() -> None:
    algorithm = ApoSft(**algo_settings("apo_sft", kl_coef=0.0))
    found, _ = gradient(algorithm, batch_of([-2.0, -3.0], [-2.0, -1.5]), [-2.0, -1.5])
    # A = -.25, .75: A_hat = -1, 1; weights max(1 - 1, .1), 1 + 1; over 2 trajectories, whatever the ratio
    assert found.tolist() == pytest.approx([-0.05, -1.0])


def test_kl_entropy_and_means_are_of_what_the_policy_played() -> None:
    batch = batch_of([-2.0, -1.0], [-2.0, -1.5])
    plain, _ = gradient(grpo(), batch, [-2.0, -1.5])
    with_kl, metrics = gradient(grpo(kl_coef=0.1, kl_estimator="k2"), batch, [-2.0, -1.5])
    # k2's gradient is x = -2 + 1 at the own token, / 2 trajectories; nothing at the replayed one.
    assert (with_kl - plain).tolist() == pytest.approx([0.1 * -1.0 / 2, 0.0])
    assert metrics["nll"] == pytest.approx(2.0)
    assert metrics["kl"] == pytest.approx(math.exp(1) - 1 - 1)  # k3 of x = -1
    without = replace(batch, replayed=None)
    assert gradient(grpo(), without, [-2.0, -1.5])[1]["nll"] == pytest.approx(1.75)
