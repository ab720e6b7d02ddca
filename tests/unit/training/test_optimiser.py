"""Learning rates: their schedule, and those of policy and critic."""

from __future__ import annotations

import math

import pytest

from tests.support.shop5_parts import build
from webshop_rl.training.optimiser import build_optimiser, schedule_factor, set_lr


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        # 4 updates of warm-up to 1, then 8 to the end
        ("constant", {0: 0.25, 3: 1.0, 4: 1.0, 11: 1.0, 12: 1.0}),
        ("linear", {0: 0.25, 3: 1.0, 4: 1.0, 8: 0.5, 10: 0.25, 12: 0.0, 99: 0.0}),
        ("cosine", {1: 0.5, 4: 1.0, 6: (1 + math.sqrt(0.5)) / 2, 8: 0.5, 12: 0.0}),
    ],
)
def test_schedule(schedule: str, factors: dict[int, float]) -> None:
    for update, factor in factors.items():
        assert schedule_factor(update, 12, 4, schedule) == pytest.approx(factor)
    assert schedule_factor(0, 0, 0, schedule) == 1.0


def test_learning_rates_of_policy_and_critic() -> None:
    parts = build("algo=ppo", "lr=1e-5", "model.lr_scale=100", "optim.warmup_updates=2")
    optimiser = build_optimiser(parts.agent.network, 1e-3, parts.cfg.optim, 10.0)
    assert [len(g["params"]) for g in optimiser.param_groups][1] == 2
    set_lr(optimiser, 2e-3)
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([2e-3, 2e-2])
    learner = parts.learner()
    metrics = next(learner.learn(parts.collect(3), None, 0)).metrics
    # warm-up 1 of 2
    assert (metrics["optim/lr"], metrics["optim/lr_effective"]) == pytest.approx((5e-6, 5e-4))
    assert [g["lr"] for g in learner.optimiser.param_groups] == pytest.approx([5e-4, 5e-3])
