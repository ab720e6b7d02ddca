"""A*PO's regression by hand, against its paper's formula and against the policy gradient."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_reg.loss import ApoReg

D = torch.double
NORM = Norm(num_trajectories=4, num_tokens=8, num_decisions=8, num_turns=4)
RETURNS = [1.0, 0.0, 0.6, 0.0]
VSTAR = [0.2, 0.5, 0.2, 0.1]


def _reg(**change: Any) -> ApoReg:
    return ApoReg(**algo_settings("apo_reg", **change))


def _batch(returns: list[float], vstar: list[float], **change: Any) -> ActionBatch:
    """One turn of two tokens a trajectory, log-prob -1 each under behaviour and reference policy."""
    b = len(returns)
    same = torch.full((b, 2), -1.0, dtype=D)
    whole: dict[str, Any] = {
        "behaviour_logprobs": same,
        "ref_logprobs": same,
        "mask": torch.ones(b, 2, dtype=torch.bool),
        "decision": torch.ones(b, 2, dtype=torch.bool),
        "turn": torch.zeros(b, 2, dtype=torch.long),
        "rewards": torch.tensor(returns, dtype=D)[:, None],
        "turn_mask": torch.ones(b, 1, dtype=torch.bool),
        "terminated": torch.ones(b, dtype=torch.bool),
        "group": torch.arange(b) // 2,
        "vstar": torch.tensor(vstar, dtype=D),
    }
    return ActionBatch(**(whole | change))


def _policy(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probs of sampled tokens [4, 2] with gradient; of the sampler and of the reference, without."""
    g = torch.Generator().manual_seed(seed)
    now, behaviour, ref = (torch.randn(4, 2, 3, generator=g, dtype=D) for _ in range(3))
    tokens = torch.randint(0, 3, (4, 2, 1), generator=g)

    def of(logits: Tensor) -> Tensor:
        return logits.log_softmax(-1).gather(-1, tokens).squeeze(-1)

    return of(now).requires_grad_(), of(behaviour), of(ref)


def test_loss_and_gradient_by_hand() -> None:
    # R - V* = .8, -.2; reference one nat below the sampler at one token of the first: l = 1, 0.
    ref = torch.tensor([[-2.0, -1.0], [-1.0, -1.0]], dtype=D)
    batch = _batch([1.0, 0.0], [0.2, 0.2], ref_logprobs=ref, group=torch.tensor([0, 1]))
    algorithm = _reg(beta2=0.5)
    found = algorithm.advantages(batch)
    # A = .8 - .5 x 1 = .3, and -.2
    assert found.tokens[:, 0].tolist() == pytest.approx([0.3, -0.2])
    logprobs = torch.tensor([[-0.9, -0.8], [-1.0, -1.4]], dtype=D, requires_grad=True)
    norm = Norm(num_trajectories=2, num_tokens=4, num_decisions=4, num_turns=2)
    output = algorithm.loss(LossInputs(logprobs, batch, found.tokens, norm))
    # moved by .3 and -.4 nats, times .5: .15 - .3 = -.15 and -.2 + .2 = 0: (.0225 + 0) / 2
    assert output.loss.item() == output.metrics["policy_loss"].item() == pytest.approx(0.01125)
    output.loss.backward()
    # 2 x .5 x -.15 / 2 trajectories at both tokens
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [pytest.approx([-0.075, -0.075]), pytest.approx([0.0, 0.0])]


@pytest.mark.parametrize("loss_norm", ["trajectory_sum", "token_mean", "constant", "length"])
def test_it_is_the_papers_loss_wherever_the_policy_has_gone(loss_norm: str) -> None:
    """mean (beta2 l - (R - V*))^2 with the policy's own l, at a policy that is not the sampler."""
    logprobs, behaviour, ref = _policy(0)
    batch = _batch(RETURNS, VSTAR, behaviour_logprobs=behaviour, ref_logprobs=ref)
    target = torch.tensor(RETURNS, dtype=D) - torch.tensor(VSTAR, dtype=D)
    paper = (0.3 * (logprobs - ref).sum(1) - target).square().mean()
    algorithm = _reg(beta2=0.3, loss_norm=loss_norm)
    output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
    assert output.loss.item() == pytest.approx(paper.item(), abs=1e-12)
    (wanted,) = torch.autograd.grad(paper, logprobs)
    (got,) = torch.autograd.grad(output.loss, logprobs)
    assert torch.allclose(got, wanted, atol=1e-12)
    assert wanted.abs().max() > 0.01


@pytest.mark.parametrize("adv_norm", ["none", "std", "mean_std"])
def test_gradient_on_policy_is_2_beta2_times_the_policy_gradients(adv_norm: str) -> None:
    _, behaviour, ref = _policy(1)
    batch = _batch(RETURNS, VSTAR, behaviour_logprobs=behaviour, ref_logprobs=ref)
    shared = {"beta2": 0.3, "adv_norm": adv_norm, "adv_clip": 0.9, "loss_norm": "trajectory_sum"}
    gradients = []
    for algorithm in (_reg(**shared), ApoPg(**algo_settings("apo_pg", **shared))):
        logprobs = behaviour.clone().requires_grad_()
        output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
        gradients += torch.autograd.grad(output.loss, logprobs)
    assert torch.allclose(gradients[0], 2 * 0.3 * gradients[1], atol=1e-12)
    assert gradients[0].abs().max() > 0.01


def test_the_entropy_term_is_the_mean_per_decision() -> None:
    # Three decisions of four tokens, entropies .3, .6, .9: mean .6; the squared errors as without it.
    decision = torch.tensor([[True, True], [True, False]])
    batch = _batch([1.0, 0.0], [0.2, 0.2], decision=decision, group=torch.tensor([0, 1]))
    algorithm = _reg(beta2=0.5, entropy_coef=0.001)
    assert algorithm.needs_entropy
    entropy = torch.tensor([[0.3, 0.6], [0.9, 0.0]], dtype=D)
    norm = Norm(num_trajectories=2, num_tokens=4, num_decisions=3, num_turns=2)
    found = algorithm.advantages(batch)
    output = algorithm.loss(LossInputs(batch.behaviour_logprobs, batch, found.tokens, norm, entropy=entropy))
    # (.8^2 + .2^2) / 2 = .34
    assert output.metrics["policy_loss"].item() == pytest.approx(0.34)
    assert output.loss.item() == pytest.approx(0.34 - 0.001 * 0.6)


def test_kl_to_the_reference_is_added_to_the_squared_error() -> None:
    ref = torch.full((2, 2), -2.0, dtype=D)
    batch = _batch([1.0, 0.0], [0.2, 0.2], ref_logprobs=ref, group=torch.tensor([0, 1]))
    norm = Norm(num_trajectories=2, num_tokens=4, num_decisions=4, num_turns=2)
    plain, held = _reg(beta2=0.5), _reg(beta2=0.5, kl_coef=0.1, kl_estimator="k2")
    losses = [
        a.loss(LossInputs(batch.behaviour_logprobs, batch, a.advantages(batch).tokens, norm)).loss.item()
        for a in (plain, held)
    ]
    # x = 1 at each decision: k2 = .5
    assert losses[1] - losses[0] == pytest.approx(0.1 * 0.5)
    # k1 adds to beta2: A = .8 - (.5 + .1) x 2
    shifted = _reg(beta2=0.5, kl_coef=0.1, kl_estimator="k1").advantages(batch).tokens[0, 0].item()
    assert shifted == pytest.approx(0.8 - 0.6 * 2)


def test_a_group_of_equal_returns_adds_nothing_under_zero() -> None:
    """Group 1 failed throughout: no error and no pull of its own, wherever the policy has gone."""
    batch = _batch([1.0, 0.0, 0.0, 0.0], [0.2] * 4)
    for equal_groups, used in (("zero", 2), ("keep", 4)):
        algorithm = _reg(beta2=0.5, equal_groups=equal_groups)
        found = algorithm.advantages(batch)
        assert found.metrics["used_frac"] == used / 4
        logprobs = torch.full((4, 2), -1.5, dtype=D, requires_grad=True)
        output = algorithm.loss(LossInputs(logprobs, batch, found.tokens, NORM))
        (gradient,) = torch.autograd.grad(output.loss, logprobs)
        assert ((gradient != 0).all(dim=1)).tolist() == [True, True, used == 4, used == 4]
        # moved by -1 nat: -.5 - .8 and -.5 + .2; of the others -.5 + .2 too, or nothing
        assert output.loss.item() == pytest.approx((1.69 + 0.09 * (used - 1)) / 4)


@pytest.mark.parametrize(("returns", "vstar"), [(0.0, 0.0), (1.6, 0.3)])
def test_equal_advantages_leave_the_policy_exactly_alone(returns: float, vstar: float) -> None:
    """AdamW would make a full step of the rounding between sampler, learner and reference."""
    noise = torch.tensor([[1e-7, -1e-7], [0, 0], [-1e-7, 0], [1e-7, 1e-7]], dtype=D)
    ref = torch.full((4, 2), -1.0, dtype=D) + noise
    batch = _batch([returns] * 4, [vstar] * 4, ref_logprobs=ref)
    algorithm = _reg(beta2=0.05)
    found = algorithm.advantages(batch)
    assert found.metrics["advantages_equal"] == 1.0
    logprobs = (torch.full((4, 2), -1.0, dtype=D) - noise).requires_grad_()
    output = algorithm.loss(LossInputs(logprobs, batch, found.tokens, NORM))
    assert output.loss.item() == 0.0
    (gradient,) = torch.autograd.grad(output.loss, logprobs)
    assert (gradient == 0).all()


def test_it_asks_for_v_star_and_the_reference() -> None:
    assert _reg().needs_vstar
    assert _reg().needs_reference
    assert math.isclose(_reg().beta2, 0.001)
    with pytest.raises(ValueError, match="reference"):
        _reg().advantages(_batch(RETURNS, VSTAR, ref_logprobs=None))
