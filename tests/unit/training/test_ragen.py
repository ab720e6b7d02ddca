"""RAGEN's loop with A*PO: thoughts are sampled, learnt from, and anchored to the reference."""

from __future__ import annotations

import pytest
import torch

from tests.support.shop5_parts import build
from webshop_rl.interface.reply import THINK_CLOSE, THINK_OPEN


@pytest.mark.parametrize("system", ["seed_ragen_apo", "seed_ragen_apo_sum"])
def test_a_collection_with_thoughts_is_learnt_from(system: str) -> None:
    parts = build(f"system={system}", "env.max_steps=3", "algo.group_size=2", "algo.goals_per_update=2")
    learner = parts.learner()
    # The reference is the policy as it began; a policy that has moved since has a KL to it.
    with torch.no_grad():
        for parameter in parts.agent.network.parameters():
            parameter.add_(0.01 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    played = parts.collect(4)
    replies = [turn.reply for t in played for turn in t.turns]
    assert all(reply.startswith(THINK_OPEN) and THINK_CLOSE in reply for reply in replies)
    assert max(t.num_decisions for t in played) > 8  # of thoughts too, not of actions alone
    before = [parameter.clone() for parameter in parts.agent.network.parameters()]
    (result,) = learner.learn(played, [0.5] * 4, 0)
    assert result.metrics["algo/kl"] > 0
    assert result.metrics["algo/kl_trajectory"] != 0
    assert result.metrics["algo/advantages_equal"] == 0
    assert result.metrics["optim/grad_norm"] > 0
    after = parts.agent.network.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
