"""The squared loss on the scaled advantage, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs
from webshop_rl.algos.apo_square.loss import ApoSquare
from webshop_rl.training.batching import norm_of

D = torch.double


def _algorithm(**change: Any) -> ApoSquare:
    return ApoSquare(**algo_settings("apo_square", **change))


def _batch() -> ActionBatch:
    """Returns 1.6, 0 and 0.5 where V* is 0.6, 0.6 and 0.5: A = 1, -0.6, 0. Tokens: 2 + 1, 1, 1."""
    return ActionBatch(
        behaviour_logprobs=torch.zeros(3, 3, dtype=D),
        mask=torch.tensor([[1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.bool),
        decision=torch.tensor([[1, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=torch.bool),
        turn=torch.tensor([[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
        rewards=torch.tensor([[0.6, 1.0], [0.0, 9.0], [0.5, 9.0]], dtype=D),
        turn_mask=torch.tensor([[1, 1], [1, 0], [1, 0]], dtype=torch.bool),
        terminated=torch.ones(3, dtype=torch.bool),
        group=torch.tensor([0, 0, 1]),
        vstar=torch.tensor([0.6, 0.6, 0.5], dtype=D),
    )


def _loss(**change: Any) -> tuple[float, torch.Tensor]:
    algorithm, batch = _algorithm(**change), _batch()
    nan = float("nan")
    logprobs = torch.tensor(
        [[-1.0, -3.0, -0.5], [-2.0, nan, nan], [-4.0, nan, nan]], dtype=D
    ).requires_grad_()
    advantages = algorithm.advantages(batch).tokens
    output = algorithm.loss(LossInputs(logprobs, batch, advantages, norm_of(batch)))
    output.loss.backward()
    assert logprobs.grad is not None
    return float(output.loss.detach()), logprobs.grad


def test_sums_over_tokens() -> None:
    # s = -4.5, -2; beta A = .5, -.3; (5^2 + 1.7^2) / 3, nothing from the third, whose A is 0.
    loss, gradient = _loss(beta=0.5)
    assert loss == pytest.approx((25 + 1.7**2) / 3)
    # 2 (s - beta A) / 3 at each token: below 0 for the bad trajectory too, so a step raises its log-prob.
    expected = torch.tensor([[-10 / 3] * 3, [-3.4 / 3, 0, 0], [0, 0, 0]], dtype=D)
    torch.testing.assert_close(gradient, expected)


def test_means_over_tokens_and_turns() -> None:
    # s = (mean(-1, -3) - .5) / 2 = -1.25, and -2.
    loss, gradient = _loss(beta=0.5, loss_norm="length")
    assert loss == pytest.approx((1.75**2 + 1.7**2) / 3)
    first = 2 * -1.75 / 3
    torch.testing.assert_close(gradient[0], torch.tensor([first / 4, first / 4, first / 2], dtype=D))
