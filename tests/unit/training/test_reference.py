"""The reference policy: what it is, and that it stays so."""

from __future__ import annotations

import torch

from tests.support.learner_steps import vstar_of
from tests.support.shop5_parts import build
from webshop_rl.training.reference import Reference


def test_the_reference_of_adapters_is_the_policy_without_them() -> None:
    parts = build("model.lora.enabled=true", "algo.kl_coef=0.1")
    trajectories = parts.collect(4)
    learner = parts.learner()
    batch = learner._prepare(trajectories, vstar_of(parts, trajectories))
    assert batch.ref_logprobs is not None
    assert (batch.ref_logprobs - batch.behaviour_logprobs).abs().max() > 1e-3
    with parts.agent.adapters_off(), torch.no_grad():
        packed = learner._pack(trajectories, range(4))
        off = packed.tokens(parts.agent.network(packed.inputs, 1.0).logprobs)
    torch.testing.assert_close(batch.ref_logprobs, off, rtol=0, atol=1e-5)
    result = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    assert result.metrics["algo/kl"] > 0
    trained = {n for n, p in parts.agent.network.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)


def test_the_reference_of_full_weights_stays_as_it_was() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(lr=1e-3)
    before = learner._prepare(trajectories, None).ref_logprobs
    next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    after = learner._prepare(trajectories, None).ref_logprobs
    assert before is not None
    assert after is not None
    assert torch.equal(before, after)


def test_a_reset_reference_is_the_policy_of_that_moment() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(lr=1e-3)
    reference = learner._reference
    assert reference is not None
    before = {name: tensor.clone() for name, tensor in reference.state().items()}
    initial = reference.digest()
    next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    assert reference.digest() == initial
    reference.reset()
    assert reference.digest() == Reference(parts.agent).digest() != initial
    reset = learner._prepare(trajectories, None).ref_logprobs
    with torch.no_grad():
        packed = learner._pack(trajectories, range(4))
        policy = packed.tokens(parts.agent.network(packed.inputs, 1.0).logprobs)
    torch.testing.assert_close(reset, policy, rtol=0, atol=1e-5)
    next(learner.learn(trajectories, vstar_of(parts, trajectories), 1))
    again = learner._prepare(trajectories, None).ref_logprobs
    assert reset is not None
    assert again is not None
    assert torch.equal(reset, again)  # it is a copy, not the policy
    reference.load(before)
    assert reference.digest() == initial


def test_the_reference_is_renormalised_inside_the_policys_nucleus() -> None:
    """With top_p near 0 each nucleus is one token, which the reference has to take as well: log-prob 0."""
    parts = build("algo=apo_pg", sharpen=1.0)
    reference = Reference(parts.agent)
    with torch.no_grad():  # the policy moves away from its reference
        for parameter in parts.agent.network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    learner = parts.learner()
    learner._reference = reference
    for top_p, alike in ((1e-6, True), (1.0, False)):
        trajectories = parts.collector.collect(parts.specs(4), temperature=1.0, top_p=top_p)
        batch = learner._prepare(trajectories, [0.0] * 4)
        assert batch.ref_logprobs is not None
        assert bool((batch.ref_logprobs[batch.mask] == 0).all()) == alike
