"""The two forms of A*PO by hand, and the policy gradient against the paper's regression."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.algorithms import algo_settings
from tests.support.shop5_parts import composed
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.apo_pg.loss import ApoPg
from webshop_rl.algos.apo_sft.loss import ApoSft
from webshop_rl.config.load import as_typed
from webshop_rl.training.health import HealthChecks

D = torch.double
NORM = Norm(num_trajectories=4, num_tokens=8, num_decisions=8, num_turns=4)


def _sft(**change: Any) -> ApoSft:
    return ApoSft(**algo_settings("apo_sft", kl_coef=0.0, **change))


def _pg(**change: Any) -> ApoPg:
    return ApoPg(**algo_settings("apo_pg", **change))


def _batch(
    returns: list[float], vstar: list[float], group: list[int] | None = None, **change: Any
) -> ActionBatch:
    """One turn of two tokens a trajectory, each token's log-prob -1."""
    b = len(returns)
    whole: dict[str, Any] = {
        "behaviour_logprobs": torch.full((b, 2), -1.0, dtype=D),
        "mask": torch.ones(b, 2, dtype=torch.bool),
        "decision": torch.ones(b, 2, dtype=torch.bool),
        "turn": torch.zeros(b, 2, dtype=torch.long),
        "rewards": torch.tensor(returns, dtype=D)[:, None],
        "turn_mask": torch.ones(b, 1, dtype=torch.bool),
        "terminated": torch.ones(b, dtype=torch.bool),
        "group": torch.tensor(group or list(range(b))),
        "vstar": torch.tensor(vstar, dtype=D),
    }
    return ActionBatch(**(whole | change))


ONE_OF_FOUR = _batch([1.0, 0.0, 0.0, 0.0], [0.2] * 4, [0, 0, 1, 1])


def test_sft_weights_by_hand() -> None:
    # A = .8, -.2, -.2, -.2: mean .05, squares .5625 + 3 x .0625 = .75 over 4: std .433013
    # A_hat = .75/.433013 = 1.732051 and -.25/.433013 = -.577350: weights 2.732051, .422650
    weights = _sft(equal_groups="keep").advantages(ONE_OF_FOUR)
    assert weights.tokens[:, 0].tolist() == pytest.approx([2.732051] + [0.422650] * 3, abs=1e-6)
    assert torch.equal(weights.tokens[:, 0], weights.tokens[:, 1])
    wanted = {"advantage_mean": 0.05, "advantage_std": 0.433013, "advantage_max": 0.8, "weight_mean": 1.0}
    assert {name: weights.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


def test_sft_bounds_of_advantage_and_weight() -> None:
    # One of 17: A_hat of the success = sqrt(16) = 4 -> 3: weight 4; of the others -.25: weight .75
    batch = _batch([1.0] + [0.0] * 16, [0.2] * 17)
    found = _sft().advantages(batch)
    assert found.tokens[:, 0].tolist() == pytest.approx([4.0] + [0.75] * 16)
    assert found.metrics["advantage_clipped_frac"] == pytest.approx(1 / 17)
    # All but one succeed: A_hat of the failure -4 -> -3, weight -2 -> .1
    found = _sft().advantages(_batch([0.0] + [1.0] * 16, [0.2] * 17))
    assert found.tokens[:, 0].tolist() == pytest.approx([0.1] + [1.25] * 16)
    assert found.metrics["weight_clipped_frac"] == pytest.approx(1 / 17)


def test_sft_baseline_leaves_the_policy_gradient() -> None:
    with_clone = _sft(equal_groups="keep").advantages(ONE_OF_FOUR).tokens
    without = _sft(equal_groups="keep", weight_baseline=1.0).advantages(ONE_OF_FOUR).tokens
    assert torch.allclose(with_clone - 1, without)
    assert without.sum().item() == pytest.approx(0.0, abs=1e-12)


def test_sft_awr_weight_by_hand() -> None:
    # exp(.8 / .5) = 4.953032; exp(-.2 / .5) = .670320; with beta .4 exp(2) = 7.389 -> 5
    found = _sft(equal_groups="keep", weight="awr").advantages(ONE_OF_FOUR).tokens[:, 0]
    assert found.tolist() == pytest.approx([4.953032] + [0.670320] * 3, abs=1e-6)
    found = _sft(equal_groups="keep", weight="awr", awr_beta=0.4).advantages(ONE_OF_FOUR).tokens[:, 0]
    assert found[0].item() == 5.0
    assert _sft(weight="awr", awr_beta=1e-6).advantages(ONE_OF_FOUR).tokens.isfinite().all()


def test_sft_loss_is_a_weighted_token_sum() -> None:
    logprobs = -torch.arange(1.0, 9.0, dtype=D).reshape(4, 2)
    logprobs.requires_grad_()
    weights = torch.tensor([2.0, 0.5, 1.0, 0.0], dtype=D)[:, None].expand(4, 2)
    output = _sft().loss(LossInputs(logprobs, ONE_OF_FOUR, weights, NORM))
    # (2 x 3 + .5 x 7 + 1 x 11 + 0 x 15) / 4 = 20.5 / 4
    assert output.loss.item() == pytest.approx(5.125)
    # nll: (3 + 7 + 11 + 15) / 8 tokens
    assert output.metrics["nll"].item() == pytest.approx(4.5)
    output.loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == [[-0.5, -0.5], [-0.125, -0.125], [-0.25, -0.25], [0.0, 0.0]]


def test_an_all_equal_group_is_not_cloned() -> None:
    """Group 1 failed throughout: weight 0 under "zero", a share by V* under "keep"."""
    zero, keep = (_sft(equal_groups=e).advantages(ONE_OF_FOUR) for e in ("zero", "keep"))
    assert (zero.tokens[2:] == 0).all()
    assert torch.equal(zero.tokens[:2], keep.tokens[:2])
    assert (keep.tokens[2:] > 0.1).all()
    assert zero.metrics["groups_equal_frac"] == 0.5
    assert zero.metrics["used_frac"] == 0.5
    assert keep.metrics["used_frac"] == 1.0
    assert (_pg(equal_groups="zero", beta2=0.0).advantages(ONE_OF_FOUR).tokens[2:] == 0).all()


def _noisy(x: float, n: int) -> list[float]:
    """x with the rounding of float32."""
    return [float(torch.tensor(x) * (1 + (i % 3 - 1) * 6e-8)) for i in range(n)]


@pytest.mark.parametrize(("returns", "vstar"), [(1.6, 1.6), (0.0, 0.0), (1.6, 0.3), (0.0, 0.1), (-0.1, 0.0)])
@pytest.mark.parametrize("adv_norm", ["none", "std", "mean_std"])
@pytest.mark.parametrize("weight", ["shifted", "awr", None])
def test_equal_advantages_leave_the_policy_exactly_alone(
    returns: float, vstar: float, adv_norm: str, weight: str | None
) -> None:
    change = {"equal_groups": "keep", "adv_norm": adv_norm, "adv_std_min": 0.0}
    algorithm = _pg(beta2=0.05, **change) if weight is None else _sft(weight=weight, **change)
    noise = torch.tensor([[1e-7, -1e-7], [0, 0], [-1e-7, 0], [1e-7, 1e-7]], dtype=D)
    ref = torch.full((4, 2), -1.0, dtype=D) + noise  # the reference is the policy, up to rounding
    batch = _batch(_noisy(returns, 4), [vstar] * 4, ref_logprobs=ref)
    found = algorithm.advantages(batch)
    assert found.metrics["advantages_equal"] == 1.0
    logprobs = torch.full((4, 2), -1.5, dtype=D, requires_grad=True)
    output = algorithm.loss(LossInputs(logprobs, batch, found.tokens, NORM))
    assert output.loss.item() == 0.0
    output.loss.backward()
    assert logprobs.grad is not None
    assert (logprobs.grad == 0).all()


def test_pg_advantage_by_hand() -> None:
    # l = sum of -1 - ref: (.5 + .5, 0, 0, -1); A = R - V* - .1 l = .8 - .1, -.2, -.2, -.2 + .1
    ref = torch.tensor([[-1.5, -1.5], [-1.0, -1.0], [-2.0, 0.0], [-1.0, 0.0]], dtype=D)
    batch = _batch([1.0, 0.0, 0.0, 0.0], [0.2] * 4, ref_logprobs=ref)
    found = _pg(beta2=0.1, adv_norm="none").advantages(batch)
    assert found.tokens[:, 0].tolist() == pytest.approx([0.7, -0.2, -0.2, -0.1])
    assert found.metrics["kl_trajectory"] == pytest.approx(0.0)
    # k1 in the reward adds to beta2.
    both = _pg(beta2=0.06, kl_coef=0.04, kl_estimator="k1", adv_norm="none").advantages(batch)
    assert torch.allclose(found.tokens, both.tokens)


def test_pg_loss_by_hand() -> None:
    logprobs = -torch.arange(1.0, 9.0, dtype=D).reshape(4, 2)
    advantages = torch.tensor([2.0, -0.5, 1.0, 0.0], dtype=D)[:, None].expand(4, 2)
    # -(2 x -3 - .5 x -7 + 1 x -11) / 4 x policy_coef .5 = 13.5 / 8
    output = _pg(policy_coef=0.5, beta2=0.0).loss(LossInputs(logprobs, ONE_OF_FOUR, advantages, NORM))
    assert output.loss.item() == pytest.approx(1.6875)
    assert "ratio_mean" not in output.metrics


def test_kl_and_entropy_terms_by_hand() -> None:
    ref = torch.full((4, 2), -2.0, dtype=D)
    batch = _batch([1.0, 0.0, 0.0, 0.0], [0.2] * 4, ref_logprobs=ref)
    logprobs, zero = torch.full((4, 2), -1.0, dtype=D), torch.zeros(4, 2, dtype=D)
    # x = 1 at each of 8 tokens: k2 = .5, in sum 4, over 4 trajectories 1; entropy .7: 5.6 / 4 = 1.4
    settings = {"kl_coef": 0.1, "kl_estimator": "k2", "entropy_coef": 0.01}
    output = _pg(**settings).loss(
        LossInputs(logprobs, batch, zero, NORM, entropy=torch.full((4, 2), 0.7, dtype=D))
    )
    assert output.loss.item() == pytest.approx(0.1 * 1.0 - 0.01 * 1.4)
    assert output.metrics["kl_loss"].item() == pytest.approx(0.1)
    assert output.metrics["kl"].item() == pytest.approx(math.exp(-1))  # k3 at 1: e^-1 - 1 + 1
    assert output.metrics["entropy"].item() == pytest.approx(0.7)


def test_what_is_missing_is_named() -> None:
    bare = _batch([1.0, 0.0], [0.0, 0.0])
    with pytest.raises(ValueError, match=r"V\*"):
        _sft().advantages(replace(bare, vstar=None))
    with pytest.raises(ValueError, match="reference"):
        _pg(beta2=0.1).advantages(bare)
    logprobs = torch.zeros(2, 2, dtype=D)
    with pytest.raises(ValueError, match="reference"):
        _pg(kl_coef=0.1).loss(LossInputs(logprobs, bare, logprobs, NORM))
    with pytest.raises(ValueError, match="entropy"):
        _pg(entropy_coef=0.1).loss(LossInputs(logprobs, bare, logprobs, NORM))


def _policy(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [4, 2, 3] with gradient, sampled tokens [4, 2], reference log-probs [4, 2]."""
    g = torch.Generator().manual_seed(seed)
    logits = torch.randn(4, 2, 3, generator=g, dtype=D).requires_grad_()
    tokens = torch.randint(0, 3, (4, 2, 1), generator=g)
    ref = torch.randn(4, 2, 3, generator=g, dtype=D).log_softmax(-1).gather(-1, tokens).squeeze(-1)
    return logits, tokens, ref


@pytest.mark.parametrize("schedule", [(1, 1), (2, 1), (1, 2)])
def test_pg_gradient_on_policy_is_the_regressions_over_2_beta2(schedule: tuple[int, int]) -> None:
    """With a ratio (more updates than one) and without, at the first update."""
    logits, tokens, ref = _policy(0)
    beta2, returns, vstar = 0.3, [1.0, 0.0, 0.6, 0.0], [0.2, 0.5, 0.2, 0.1]
    logprobs = logits.log_softmax(-1).gather(-1, tokens).squeeze(-1)
    batch = _batch(returns, vstar, ref_logprobs=ref, behaviour_logprobs=logprobs.detach())
    targets = torch.tensor(returns, dtype=D) - torch.tensor(vstar, dtype=D)
    regression = (beta2 * (logprobs - ref).sum(1) - targets).square().mean()  # arXiv:2505.20686
    (wanted,) = torch.autograd.grad(regression / (2 * beta2), logits, retain_graph=True)
    algorithm = _pg(
        beta2=beta2, adv_norm="none", adv_clip=None, num_epochs=schedule[0], num_minibatches=schedule[1]
    )
    output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
    (got,) = torch.autograd.grad(output.loss, logits)
    assert torch.allclose(got, wanted, atol=1e-12)
    assert wanted.abs().max() > 0.01


def test_pg_with_more_updates_clips_the_ratio() -> None:
    algorithm = _pg(num_epochs=2, beta2=0.0, clip_eps=0.2)
    logprobs = (torch.full((4, 2), -1.0, dtype=D) + math.log(1.5)).requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 0.0, 0.0], dtype=D)[:, None].expand(4, 2)
    output = algorithm.loss(LossInputs(logprobs, ONE_OF_FOUR, advantages, NORM))
    # (2 x -1.2 + 2 x 1.5) / 4
    assert output.loss.item() == pytest.approx(0.15)
    assert output.metrics["ratio_mean"].item() == pytest.approx(1.5)
    assert output.metrics["ratio_clipped_frac"].item() == pytest.approx(2 / 8)
    # k3 of log pi_b - log pi = -ln 1.5: 1.5 - 1 - .405465
    assert output.metrics["kl_behaviour"].item() == pytest.approx(0.094535, abs=1e-6)


def test_metrics_are_means_over_decisions() -> None:
    """The second token of each trajectory is forced: 4 decisions among 8 tokens."""
    decision = torch.tensor([[True, False]]).expand(4, 2)
    behaviour = torch.tensor([[-1.0, 0.0]], dtype=D).expand(4, 2)
    batch = _batch(
        [1.0, 0.0, 0.0, 0.0],
        [0.2] * 4,
        decision=decision,
        behaviour_logprobs=behaviour,
        ref_logprobs=torch.tensor([[-2.0, 0.0]], dtype=D).expand(4, 2),
    )
    norm = Norm(num_trajectories=4, num_tokens=8, num_decisions=4, num_turns=4)
    logprobs = behaviour + decision * math.log(1.5)
    settings = {"num_epochs": 2, "beta2": 0.0, "kl_coef": 0.1, "kl_estimator": "k2", "entropy_coef": 0.01}
    entropy = torch.tensor([[0.7, 0.0]], dtype=D).expand(4, 2)
    output = _pg(loss_norm="token_mean", **settings).loss(
        LossInputs(logprobs, batch, torch.ones(4, 2, dtype=D), norm, entropy=entropy)
    )
    found = {name: value.item() for name, value in output.metrics.items()}
    x = 1 + math.log(1.5)
    assert found["nll"] == pytest.approx(1 - math.log(1.5))
    assert found["entropy"] == pytest.approx(0.7)
    assert found["kl"] == pytest.approx(math.exp(-x) - 1 + x)
    assert found["kl_loss"] == pytest.approx(0.1 * x**2 / 2)
    assert found["ratio_mean"] == pytest.approx(1.5)
    assert found["kl_behaviour"] == pytest.approx(1.5 - 1 - math.log(1.5))
    assert found["policy_loss"] == pytest.approx(-1.2)
    # Every decision is clipped, which is what the health check asks for more than half of.
    assert found["ratio_clipped_frac"] == pytest.approx(1.0)
    row = {"algo/ratio_clipped_frac": found["ratio_clipped_frac"]}
    assert HealthChecks(as_typed(composed()).health).look(row) == ["clipped"]


@pytest.mark.parametrize(
    ("sampled", "policy", "kl"),
    [
        # KL(pi_b || pi) = .27 ln(.27/.059) + .73 ln(.73/.941), and so on
        (27, 0.059, 0.225293),
        (29, 0.855, 0.814303),
        (50, 0.5, 0.0),
    ],
)
def test_kl_behaviour_is_the_kl_from_the_sampler_to_the_policy(
    sampled: int, policy: float, kl: float
) -> None:
    """100 tokens that fall exactly as the behaviour policy has it: the mean is the expectation."""
    behaviour = sampled / 100
    assert behaviour * math.log(behaviour / policy) + (1 - behaviour) * math.log(
        (1 - behaviour) / (1 - policy)
    ) == pytest.approx(kl, abs=1e-6)
    first = torch.arange(100).reshape(50, 2) < sampled
    batch = _batch(
        [1.0] * 50, [0.0] * 50, behaviour_logprobs=torch.where(first, behaviour, 1 - behaviour).log()
    )
    logprobs = torch.where(first, policy, 1 - policy).log()
    norm = Norm(num_trajectories=50, num_tokens=100, num_decisions=100, num_turns=50)
    output = _pg(num_epochs=2, beta2=0.0).loss(LossInputs(logprobs, batch, torch.zeros(50, 2), norm))
    assert output.metrics["kl_behaviour"].item() == pytest.approx(kl, abs=1e-5)


@pytest.mark.parametrize(
    ("kl_estimator", "adv_norm", "slope"),
    [
        # R - V* = .3, -.3, .3, -.3; l = .2, .2, -.2, -.2; kl_coef 2: under k1
        # A = .3 - .4, -.3 - .4, .3 + .4, -.3 + .4 = -.1, -.7, .7, .1: mean 0,
        # squares 2 x (.01 + .49) over 4: std .5.
        # The same return at l -.2 and .2: A .7 and -.1, a slope of -.8 / .4 = -2 = -kl_coef
        ("k1", "none", 2.0),
        ("k1", "std", 4.0),  # divided by std A = .5, as R - V* is
        ("k1", "mean_std", 4.0),
        # KL_t = x_t^2 / 2 in the loss: its slope by log pi is kl_coef x_t, whatever becomes of A
        ("k2", "none", 2.0),
        ("k2", "std", 2.0),
        ("k2", "mean_std", 2.0),
    ],
)
def test_kl_coef_is_divided_by_std_a_under_k1_and_not_under_k2(
    kl_estimator: str, adv_norm: str, slope: float
) -> None:
    """The pull towards the reference, per nat of log-ratio, of trajectories that earned the same."""
    ratio = torch.tensor([0.2, 0.2, -0.2, -0.2], dtype=D)[:, None]
    logprobs = torch.full((4, 1), -1.0, dtype=D, requires_grad=True)
    one_token = {
        "behaviour_logprobs": logprobs.detach(),
        "ref_logprobs": logprobs.detach() - ratio,
        "mask": torch.ones(4, 1, dtype=torch.bool),
        "decision": torch.ones(4, 1, dtype=torch.bool),
        "turn": torch.zeros(4, 1, dtype=torch.long),
    }
    batch = _batch([0.6, 0.0, 0.6, 0.0], [0.3] * 4, **one_token)
    algorithm = _pg(beta2=0.0, kl_coef=2.0, kl_estimator=kl_estimator, adv_norm=adv_norm, adv_clip=None)
    norm = Norm(num_trajectories=4, num_tokens=4, num_decisions=4, num_turns=4)
    algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, norm)).loss.backward()
    assert logprobs.grad is not None
    pull = 4 * logprobs.grad[:, 0]  # of each trajectory, undone the mean over the four
    assert float(pull[0] - pull[2]) / 0.4 == pytest.approx(slope)
    assert float(pull[1] - pull[3]) / 0.4 == pytest.approx(slope)
