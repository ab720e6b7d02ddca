"""Losses per token, their normalisation, and the critic's, by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.losses import (
    ClippedRatio,
    clipped_surrogate,
    explained_variance,
    pooled_log_ratio,
    token_weights,
    value_loss,
    weighted_nll,
)
from webshop_rl.algos.rloo.loss import Rloo
from webshop_rl.training.batching import norm_of

D = torch.double
# Two trajectories: turns of 2 and 1 tokens; one turn of 1 token.
MASK = torch.tensor([[True, True, True], [True, False, False]])
TURN = torch.tensor([[0, 0, 1], [0, 0, 0]])
TURN_MASK = torch.tensor([[True, True], [True, False]])
BATCH = ActionBatch(
    behaviour_logprobs=torch.zeros(2, 3, dtype=D),
    mask=MASK,
    decision=MASK,
    turn=TURN,
    rewards=torch.zeros(2, 2, dtype=D),
    turn_mask=TURN_MASK,
    terminated=torch.tensor([True, True]),
    group=torch.tensor([0, 0]),
)
NORM = Norm(num_trajectories=2, num_tokens=4, num_decisions=4, num_turns=3)


@pytest.mark.parametrize(
    ("loss_norm", "wanted"),
    [
        ("trajectory_sum", [[1 / 2, 1 / 2, 1 / 2], [1 / 2, 0, 0]]),
        ("token_mean", [[1 / 4, 1 / 4, 1 / 4], [1 / 4, 0, 0]]),
        ("constant", [[1 / 20, 1 / 20, 1 / 20], [1 / 20, 0, 0]]),  # 2 trajectories x 10 tokens
        # Turn means over 2 turns and 2 trajectories: 1/(2 x 2 x 2), twice, 1/(1 x 2 x 2); 1/(1 x 1 x 2)
        ("length", [[1 / 8, 1 / 8, 1 / 4], [1 / 2, 0, 0]]),
    ],
)
def test_token_weights_by_hand(loss_norm: str, wanted: list[list[float]]) -> None:
    assert token_weights(BATCH, NORM, loss_norm, 10.0).tolist() == wanted


def test_token_mean_is_over_decisions() -> None:
    """The second token of three is forced, and what a flag says outside the mask is not read."""
    decision = torch.tensor([[True, False, True], [True, True, True]])
    batch = replace(BATCH, decision=decision)
    norm = replace(NORM, num_decisions=3)
    assert norm_of(batch) == norm
    weights = token_weights(batch, norm, "token_mean", 10.0)
    assert weights.tolist() == [[1 / 3, 0, 1 / 3], [1 / 3, 0, 0]]
    assert token_weights(batch, replace(NORM, num_decisions=0), "token_mean", 1.0).isfinite().all()


def test_only_length_favours_short_trajectories() -> None:
    """Weight of a trajectory's token relative to that of another's: 1 but for "length"."""
    for loss_norm in ("trajectory_sum", "token_mean", "constant"):
        assert len(set(token_weights(BATCH, NORM, loss_norm, 10.0)[MASK].tolist())) == 1
    weights = token_weights(BATCH, NORM, "length", 10.0)
    assert weights[1, 0] == 4 * weights[0, 0]


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="loss_norm"):
        token_weights(BATCH, NORM, "mean", 10.0)


def test_weighted_nll_by_hand() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -math.inf]], requires_grad=True)
    mask = torch.tensor([[True, True, True]])
    loss = weighted_nll(logprobs, torch.tensor([[0.5, -3.0, 0.0]]), mask)
    assert loss.tolist() == [[0.5, -6.0, 0.0]]
    loss.sum().backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.5, 3.0, 0.0]]


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        # loss = -min(rho A, clip(rho) A); slope by log pi = -rho A where the plain branch holds, else 0
        (1.0, 2.0, -2.0, -2.0),
        (1.5, 2.0, -2.4, 0.0),  # gain beyond the clip is not asked for
        (0.5, 2.0, -1.0, -1.0),
        (1.5, -2.0, 3.0, 3.0),  # harm beyond the clip is undone
        (0.5, -2.0, 1.6, 0.0),
        (0.5, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_surrogate_by_hand(ratio: float, advantage: float, loss: float, slope: float) -> None:
    behaviour = torch.tensor([[-2.0]], dtype=D)
    logprobs = (behaviour + math.log(ratio)).requires_grad_()
    mask = torch.tensor([[True]])
    found = _surrogate(logprobs, behaviour, torch.tensor([[advantage]], dtype=D), mask)
    assert found.loss.item() == pytest.approx(loss, abs=1e-12)
    assert float(found.ratio) == pytest.approx(ratio)
    assert bool(found.clipped) == (slope == 0.0 and advantage != 0.0)
    found.loss.sum().backward()
    assert logprobs.grad is not None
    assert float(logprobs.grad) == pytest.approx(slope, abs=1e-12)


def _surrogate(
    logprobs: Tensor, behaviour: Tensor, advantages: Tensor, mask: Tensor, **settings: Any
) -> ClippedRatio:
    batch = replace(BATCH, behaviour_logprobs=behaviour, mask=mask, decision=mask)
    return clipped_surrogate(
        Rloo(**algo_settings("rloo", **settings)), LossInputs(logprobs, batch, advantages, NORM)
    )


@pytest.mark.parametrize(
    ("clip_eps_high", "losses"),
    [
        # Ratios 1.3, 1.3, .7, .7; advantages 1, -1, 1, -1; the clip takes the first and the last.
        (None, [-1.2, 1.3, -0.7, 0.8]),
        (0.25, [-1.25, 1.3, -0.7, 0.8]),
        (0.4, [-1.3, 1.3, -0.7, 0.8]),  # above 1 nothing is clipped, below 1 as before
    ],
)
def test_the_clip_above_1_has_a_width_of_its_own(clip_eps_high: float | None, losses: list[float]) -> None:
    logprobs = torch.tensor([[1.3, 1.3, 0.7, 0.7]], dtype=D).log()
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=D)
    mask = torch.ones(1, 4, dtype=torch.bool)
    found = _surrogate(logprobs, torch.zeros(1, 4, dtype=D), advantages, mask, clip_eps_high=clip_eps_high)
    assert found.loss[0].tolist() == pytest.approx(losses)


def test_ratios_of_a_trajectory_by_hand() -> None:
    x = torch.tensor([[0.1, 0.5, 0.3], [-0.4, 0.0, 0.0]], dtype=D)
    decided = torch.tensor([[True, False, True], [True, False, False]])
    assert torch.equal(pooled_log_ratio(x, decided, "token"), x)
    # Means over decisions: (.1 + .3) / 2, -.4; the forced token keeps its own.
    wanted = [pytest.approx([0.2, 0.5, 0.2]), pytest.approx([-0.4, 0.0, 0.0])]
    assert pooled_log_ratio(x, decided, "sequence").tolist() == wanted
    wanted = [pytest.approx([0.4, 0.5, 0.4]), pytest.approx([-0.4, 0.0, 0.0])]
    assert pooled_log_ratio(x, decided, "trajectory").tolist() == wanted
    with pytest.raises(ValueError, match="ratio"):
        pooled_log_ratio(x, decided, "turn")


@pytest.mark.parametrize(("ratio", "factor"), [("sequence", 1.1), ("trajectory", 1.21)])
def test_a_trajectory_is_weighed_as_one_and_each_token_moves_itself(ratio: str, factor: float) -> None:
    # Log-ratios ln 1.3 and ln(1.21 / 1.3): the mean is ln 1.1, the sum ln 1.21.
    logprobs = torch.tensor([[1.3, 1.21 / 1.3]], dtype=D).log().requires_grad_()
    advantages = torch.tensor([[1.0, -2.0]], dtype=D)
    mask, zero = torch.ones(1, 2, dtype=torch.bool), torch.zeros(1, 2, dtype=D)
    found = _surrogate(logprobs, zero, advantages, mask, ratio=ratio, clip_eps=0.3)
    assert found.ratio[0].tolist() == pytest.approx([factor, factor])
    assert found.loss[0].tolist() == pytest.approx([-factor, 2 * factor])
    (gradient,) = torch.autograd.grad(found.loss.sum(), logprobs)
    assert gradient[0].tolist() == pytest.approx([-factor, 2 * factor])
    clipped = _surrogate(logprobs, zero, advantages, mask, ratio=ratio, clip_eps=0.05).clipped
    assert clipped.tolist() == [[True, False]]  # 1.1 and 1.21 are beyond 1.05; A < 0 is not held above


@pytest.mark.parametrize("ratio", ["token", "sequence", "trajectory"])
def test_at_the_sampler_every_ratio_gives_the_policy_gradient(ratio: str) -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -0.5]], dtype=D, requires_grad=True)
    advantages = torch.tensor([[1.0, -2.0, 0.5]], dtype=D)
    mask = torch.ones(1, 3, dtype=torch.bool)
    found = _surrogate(logprobs, logprobs.detach(), advantages, mask, ratio=ratio)
    (gradient,) = torch.autograd.grad(found.loss.sum(), logprobs)
    assert torch.allclose(gradient, -advantages)


def test_an_absurd_ratio_stays_finite() -> None:
    logprobs = torch.tensor([[-1.0, -5000.0]], requires_grad=True)
    behaviour, mask = torch.tensor([[-5000.0, -1.0]]), torch.tensor([[True, True]])
    found = _surrogate(logprobs, behaviour, torch.tensor([[-1.0, 1.0]]), mask)
    found.loss.sum().backward()
    assert found.loss.isfinite().all()
    assert logprobs.grad is not None
    assert logprobs.grad.isfinite().all()


def test_value_loss_by_hand() -> None:
    values = torch.tensor([[1.0, 0.5, math.nan]], dtype=D, requires_grad=True)
    old, target = torch.tensor([[0.4, 0.5, 0.0]], dtype=D), torch.tensor([[0.8, 0.0, 0.0]], dtype=D)
    mask = torch.tensor([[True, True, False]])
    free, _ = value_loss(values, old, target, mask, None)
    # (1.0 - 0.8)^2 / 2 = 0.02; 0.5^2 / 2 = 0.125
    assert free[0].tolist() == pytest.approx([0.02, 0.125, 0.0])
    bounded, clipped = value_loss(values, old, target, mask, 0.1)
    # The move 0.4 -> 1.0 bounded to 0.5: (0.5 - 0.8)^2 / 2 = 0.045, the worse; no move: as it was
    assert bounded[0].tolist() == pytest.approx([0.045, 0.125, 0.0])
    assert clipped.tolist() == [[True, False, False]]
    bounded.sum().backward()
    assert values.grad is not None
    # Bounded: no gradient; the other: v - target = 0.5
    assert values.grad[0].tolist() == pytest.approx([0.0, 0.5, 0.0])


def test_the_worse_of_the_two_moves_counts() -> None:
    # free: (1 - .8)^2 / 2 = .02; (1 - 1.8)^2 / 2 = .32
    values, old = torch.tensor([[1.0, 1.0]], dtype=D), torch.tensor([[1.5, 1.5]], dtype=D)
    target = torch.tensor([[0.8, 1.8]], dtype=D)
    got, clipped = value_loss(values, old, target, torch.ones(1, 2, dtype=torch.bool), 0.1)
    # bounded to 1.4: (1.4 - .8)^2 / 2 = .18; (1.4 - 1.8)^2 / 2 = .08
    assert got[0].tolist() == pytest.approx([0.18, 0.32])
    assert clipped.tolist() == [[True, False]]


def test_explained_variance_by_hand() -> None:
    # targets 0, 2: variance 1; errors 0, 1: variance 1/4
    assert explained_variance(torch.tensor([0.0, 1.0]), torch.tensor([0.0, 2.0])) == pytest.approx(0.75)
    assert explained_variance(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 2.0])) == 0.0
