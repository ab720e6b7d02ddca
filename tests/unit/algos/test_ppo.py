"""PPO by hand: two trajectories, the first of two turns and terminated, the second truncated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.ppo.loss import Ppo

D = torch.double
NORM = Norm(num_trajectories=2, num_tokens=4, num_decisions=4, num_turns=3)
BATCH = ActionBatch(
    behaviour_logprobs=torch.tensor([[-1.0, -1.0, -1.0], [-1.0, 0.0, 0.0]], dtype=D),
    mask=torch.tensor([[True, True, True], [True, False, False]]),
    decision=torch.tensor([[True, True, True], [True, False, False]]),
    turn=torch.tensor([[0, 0, 1], [0, 0, 0]]),
    rewards=torch.tensor([[0.3, 1.0], [0.0, 0.0]], dtype=D),
    turn_mask=torch.tensor([[True, True], [True, False]]),
    terminated=torch.tensor([True, False]),
    group=torch.tensor([0, 1]),
    ref_logprobs=torch.tensor([[-1.5, -1.0, -3.0], [-1.0, 0.0, 0.0]], dtype=D),
    values=torch.tensor([[0.5, 0.8], [0.4, 0.0]], dtype=D),
    last_value=torch.tensor([9.0, 0.6], dtype=D),
)


def _ppo(**change: Any) -> Ppo:
    plain = {"adv_norm": "none", "adv_clip": None, "gae_lambda": 0.5}
    return Ppo(**algo_settings("ppo", **{**plain, **change}))


def test_turn_level_by_hand() -> None:
    # Turn 1: 1.0 - .8 = .2; turn 0: .3 + .8 - .5 = .6, + .5 x .2 = .7; truncated: 0 - .4 = -.4
    found = _ppo().advantages(BATCH)
    assert found.tokens.tolist() == [pytest.approx([0.7, 0.7, 0.2]), pytest.approx([-0.4, 0.0, 0.0])]
    assert found.value_targets is not None
    # A + V: .7 + .5, .2 + .8, -.4 + .4
    assert found.value_targets.tolist() == [pytest.approx([1.2, 1.0]), pytest.approx([0.0, 0.0])]


def test_truncation_bootstraps_only_where_asked() -> None:
    # .6 - .4 = .2 for the truncated; the terminated does not see its last value of 9
    found = _ppo(bootstrap_truncated=True).advantages(BATCH)
    assert found.tokens.tolist() == [pytest.approx([0.7, 0.7, 0.2]), pytest.approx([0.2, 0.0, 0.0])]
    with pytest.raises(ValueError, match="last page"):
        _ppo(bootstrap_truncated=True).advantages(replace(BATCH, last_value=None))


def test_whitening_is_over_turns_that_exist() -> None:
    # .7, .2, -.4: mean 1/6, not that of the four tokens (.3), nor with the absent turn (.125)
    found = _ppo(adv_norm="mean_std").advantages(BATCH)
    # squares .284444 + .001111 + .321111 over 3: std .449691
    assert found.tokens[BATCH.mask].tolist() == pytest.approx(
        [1.185999, 1.185999, 0.074125, -1.260124], abs=1e-5
    )
    assert found.metrics["advantage_mean"] == pytest.approx(1 / 6)


def test_kl_in_the_reward_is_summed_over_the_turn() -> None:
    # x = .5, 0 | 2 | 0: rewards .3 - .05, 1 - .2, 0: d1 = .8 - .8 = 0, d0 = .25 + .8 - .5 = .55
    found = _ppo(kl_coef=0.1, kl_estimator="k1").advantages(BATCH)
    assert found.tokens.tolist() == [pytest.approx([0.55, 0.55, 0.0]), pytest.approx([-0.4, 0.0, 0.0])]


def test_token_level_by_hand() -> None:
    # V .5 .6 .8 | .4; rewards 0 .3 1 | 0; lambda .5
    # d2 = 1 - .8 = .2; d1 = .3 + .8 - .6 = .5, A1 = .6; d0 = .6 - .5 = .1, A0 = .4; d = -.4
    values = torch.tensor([[0.5, 0.6, 0.8], [0.4, 0.0, 0.0]], dtype=D)
    batch = replace(BATCH, values=values)
    found = _ppo(level="token").advantages(batch)
    assert found.tokens.tolist() == [pytest.approx([0.4, 0.6, 0.2]), pytest.approx([-0.4, 0.0, 0.0])]
    assert found.value_targets is not None
    assert found.value_targets[0].tolist() == pytest.approx([0.9, 1.2, 1.0])
    output = _ppo(level="token", value_coef=1.0).loss(
        LossInputs(
            BATCH.behaviour_logprobs,
            batch,
            found.tokens,
            NORM,
            values=values,
            value_targets=found.value_targets,
        )
    )
    # (.4^2 + .6^2 + .2^2 + .4^2) / 2 over 4 tokens = .72 / 8
    assert output.metrics["value_loss"].item() == pytest.approx(0.09)


def test_values_of_the_wrong_level_are_refused() -> None:
    with pytest.raises(ValueError, match="level token"):
        _ppo(level="token").advantages(BATCH)
    with pytest.raises(ValueError, match="level turn"):
        _ppo().advantages(replace(BATCH, values=None))


def test_loss_by_hand() -> None:
    logprobs = BATCH.behaviour_logprobs + torch.tensor([[math.log(1.5), 0.0, 0.0], [math.log(0.5), 0.0, 0.0]])
    advantages = torch.tensor([[1.0, 1.0, 2.0], [-1.0, 0.0, 0.0]], dtype=D)
    values = torch.tensor([[0.7, 0.8], [0.4, 5.0]], dtype=D)
    targets = torch.tensor([[1.2, 1.0], [0.0, -5.0]], dtype=D)
    output = _ppo(value_coef=0.5, clip_eps=0.2).loss(
        LossInputs(logprobs, BATCH, advantages, NORM, values=values, value_targets=targets)
    )
    # policy, token mean: -(1.2 + 1 + 2 - .8) / 4 = -.85
    # critic, turn mean: (.5^2 + .2^2 + .4^2) / 2 / 3 = .45 / 6 = .075
    assert output.metrics["policy_loss"].item() == pytest.approx(-0.85)
    assert output.metrics["value_loss"].item() == pytest.approx(0.075)
    assert output.loss.item() == pytest.approx(-0.85 + 0.5 * 0.075)
    assert output.metrics["loss"].item() == pytest.approx(output.loss.item())
    assert output.metrics["ratio_clipped_frac"].item() == 0.5
    # The critic's move .5 -> .7 bounded by .1: (.6 - 1.2)^2 / 2 = .18 instead of .125
    bounded = _ppo(value_clip=0.1).loss(
        LossInputs(logprobs, BATCH, advantages, NORM, values=values, value_targets=targets)
    )
    assert bounded.metrics["value_loss"].item() == pytest.approx((0.18 + 0.02 + 0.08) / 3)
    assert bounded.metrics["value_clipped_frac"].item() == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="critic"):
        _ppo().loss(LossInputs(logprobs, BATCH, advantages, NORM))


@pytest.mark.parametrize("level", ["turn", "token"])
@pytest.mark.parametrize("adv_norm", ["none", "std", "mean_std"])
def test_equal_advantages_leave_the_policy_exactly_alone(level: str, adv_norm: str) -> None:
    """A critic that is off by the same at the end of every episode, up to rounding."""
    values = torch.tensor([[0.8, 0.8, 0.8], [0.8000001, 0.0, 0.0]], dtype=D)
    values = values if level == "token" else values[:, :2]
    batch = replace(BATCH, values=values, rewards=torch.zeros(2, 2, dtype=D))
    # lambda 1: every advantage is -.8
    algorithm = _ppo(level=level, adv_norm=adv_norm, gae_lambda=1.0, adv_std_min=0.0)
    found = algorithm.advantages(batch)
    assert found.metrics["advantages_equal"] == 1.0
    logprobs = (BATCH.behaviour_logprobs - 0.3).requires_grad_()
    output = algorithm.loss(
        LossInputs(logprobs, batch, found.tokens, NORM, values=values, value_targets=found.value_targets)
    )
    assert output.metrics["policy_loss"].item() == 0.0
    output.loss.backward()
    assert logprobs.grad is not None
    assert (logprobs.grad == 0).all()
    # The critic goes on learning.
    assert output.metrics["value_loss"].item() == pytest.approx(0.32, abs=1e-6)
