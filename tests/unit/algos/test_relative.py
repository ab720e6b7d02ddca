"""GRPO and RLOO by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from tests.support.algorithms import algo_settings
from webshop_rl.algos.algorithm import ActionBatch, LossInputs, Norm
from webshop_rl.algos.grpo.loss import Grpo
from webshop_rl.algos.rloo.loss import Rloo

D = torch.double
NORM = Norm(num_trajectories=6, num_tokens=12, num_decisions=12, num_turns=6)


def _batch(**change: Any) -> ActionBatch:
    """One turn of two tokens a trajectory, log-prob -1 each; goal 0 succeeds once, goal 1 earns alike."""
    whole: dict[str, Any] = {
        "behaviour_logprobs": torch.full((6, 2), -1.0, dtype=D),
        "mask": torch.ones(6, 2, dtype=torch.bool),
        "decision": torch.ones(6, 2, dtype=torch.bool),
        "turn": torch.zeros(6, 2, dtype=torch.long),
        "rewards": torch.tensor([1.5, 0.0, 0.0, 0.3, 0.3, 0.3], dtype=D)[:, None],
        "turn_mask": torch.ones(6, 1, dtype=torch.bool),
        "terminated": torch.ones(6, dtype=torch.bool),
        "group": torch.tensor([0, 0, 0, 1, 1, 1]),
    }
    return ActionBatch(**(whole | change))


@pytest.mark.parametrize(
    ("algorithm", "wanted"),
    [
        # mean .5; squares 1 + .25 + .25 = 1.5 over 3: std .707107: 1 / .707107, -.5 / .707107 (std_eps ~ 0)
        (Grpo(**algo_settings("grpo", std_eps=1e-12)), [1.414214, -0.707107, -0.707107, 0.0, 0.0, 0.0]),
        # std_eps .292893 makes the divisor 1
        (Grpo(**algo_settings("grpo", std_eps=1 - math.sqrt(0.5))), [1.0, -0.5, -0.5, 0.0, 0.0, 0.0]),
        (Grpo(**algo_settings("grpo", scale="none")), [1.0, -0.5, -0.5, 0.0, 0.0, 0.0]),
        # means of the other two: 0, .75, .75
        (Rloo(**algo_settings("rloo")), [1.5, -0.75, -0.75, 0.0, 0.0, 0.0]),
    ],
)
def test_advantages_by_hand(algorithm: Grpo | Rloo, wanted: list[float]) -> None:
    found = algorithm.advantages(_batch())
    assert found.tokens[:, 0].tolist() == pytest.approx(wanted, abs=1e-6)
    assert torch.equal(found.tokens[:, 0], found.tokens[:, 1])
    assert (found.tokens[3:] == 0).all()  # a group whose returns are all equal teaches nothing
    assert found.metrics["groups_equal_frac"] == pytest.approx(0.5)
    # std .707107 and 0, the mean of the two groups
    assert found.metrics["group_return_std"] == pytest.approx(0.353553, abs=1e-6)


@pytest.mark.parametrize(
    "algorithm", [Grpo(**algo_settings("grpo", scale="none")), Rloo(**algo_settings("rloo"))]
)
def test_loss_and_gradient_by_hand(algorithm: Grpo | Rloo) -> None:
    batch, factor = _batch(), 1.5 if isinstance(algorithm, Rloo) else 1.0
    logprobs = torch.full((6, 2), -1.0, dtype=D)
    logprobs[0] = torch.tensor([-2.0, -3.0])
    logprobs.requires_grad_()
    output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
    # -(1 x -5 - .5 x -2 - .5 x -2) / 6 trajectories = .5
    assert output.loss.item() == pytest.approx(factor * 0.5)
    output.loss.backward()
    assert logprobs.grad is not None
    assert logprobs.grad[:, 0].tolist() == pytest.approx([factor * a / 6 for a in (-1.0, 0.5, 0.5, 0, 0, 0)])


def test_more_updates_than_one_clip_the_ratio() -> None:
    algorithm, batch = Grpo(**algo_settings("grpo", scale="none", num_epochs=2)), _batch()
    logprobs = torch.full((6, 2), -1.0 + math.log(1.5), dtype=D)
    output = algorithm.loss(LossInputs(logprobs, batch, algorithm.advantages(batch).tokens, NORM))
    # ratio 1.5: min(1.5, 1.2) x 1 for the success, 1.5 x -.5 for each failure; two tokens each, over 6
    assert output.loss.item() == pytest.approx(-2 * (1.2 - 0.75 - 0.75) / 6)
    assert output.metrics["ratio_clipped_frac"].item() == pytest.approx(2 / 12)


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_k1_takes_the_log_ratio_from_the_advantage_undivided(name: str) -> None:
    ratio = torch.tensor([0.1, 0.0, 0.0, 0.2, 0.0, 0.0], dtype=D)
    settings = {"kl_coef": 2.0, "kl_estimator": "k1"}
    algorithm = (
        Grpo(**algo_settings(name, **settings)) if name == "grpo" else Rloo(**algo_settings(name, **settings))
    )
    assert algorithm.needs_reference
    plain = algorithm.advantages(_batch(ref_logprobs=torch.full((6, 2), -1.0, dtype=D))).tokens
    batch = _batch(ref_logprobs=-1.0 - ratio[:, None].expand(6, 2))
    # l = 2 x .1 and 2 x .2; times 2
    taken = (plain - algorithm.advantages(batch).tokens)[:, 0]
    assert taken.tolist() == pytest.approx([0.4, 0, 0, 0.8, 0, 0])
    with pytest.raises(ValueError, match="reference"):
        algorithm.advantages(_batch())


@pytest.mark.parametrize("name", ["grpo", "rloo"])
def test_under_k1_nothing_to_compare_and_no_ratio_is_exactly_0(name: str) -> None:
    settings = algo_settings(name, kl_coef=0.1, kl_estimator="k1")
    algorithm = Grpo(**settings) if name == "grpo" else Rloo(**settings)
    same = torch.full((6, 1), 0.3, dtype=D)
    found = algorithm.advantages(_batch(rewards=same, ref_logprobs=torch.full((6, 2), -1.0, dtype=D)))
    assert (found.tokens == 0).all()
