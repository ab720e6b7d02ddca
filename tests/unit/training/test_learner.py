"""One optimiser step: what it depends on, what it does not, and what keeps it from going wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.shop5_parts import Parts, build
from webshop_rl.algos.algorithm import LossOutput
from webshop_rl.envs.types import EndReason
from webshop_rl.errors import UserError
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.types import Trajectory
from webshop_rl.training.learner import Learner, out_of_memory_advice
from webshop_rl.training.optimiser import build_optimiser, schedule_factor, set_lr
from webshop_rl.training.reference import Reference

ALGORITHMS = {
    "apo_pg": ("algo=apo_pg",),
    "apo_pg, entropy, k3": (
        "algo=apo_pg",
        "algo.entropy_coef=0.1",
        "algo.kl_coef=0.1",
        "algo.kl_estimator=k3",
    ),
    "apo_sft": ("algo=apo_sft",),
    "ppo": ("algo=ppo", "algo.num_epochs=1"),
    "ppo, tokens": ("algo=ppo", "algo.num_epochs=1", "algo.level=token", "algo.bootstrap_truncated=true"),
}
NO_CLIP = {"grad_clip": 1e9}


def vstar_of(parts: Parts, trajectories: list[Trajectory]) -> list[float] | None:
    # No multiple of a reward: the sign of R - V* must not hang on rounding.
    return [0.05 + 0.1 * int(t.goal.asin) for t in trajectories] if parts.algorithm.needs_vstar else None


def step(
    parts: Parts, trajectories: list[Trajectory], **options: Any
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics and gradients of one step, taken from the same weights each time."""
    kept = {k: v.clone() for k, v in parts.agent.network.state_dict().items()}
    learner = parts.learner(**NO_CLIP, **options)
    result = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    found = {n: p.grad.clone() for n, p in parts.agent.network.named_parameters() if p.grad is not None}
    parts.agent.network.load_state_dict(kept)
    return result.metrics, found


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    norm = math.sqrt(sum(float(g.square().sum()) for g in one.values()))
    assert norm > 0
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=2e-6 * norm, msg=name)


@pytest.fixture(scope="module", params=ALGORITHMS)
def parts(request: pytest.FixtureRequest) -> Parts:
    return build(*ALGORITHMS[request.param], sharpen=3.0)


def test_micro_batches_give_the_gradient_of_the_whole(parts: Parts) -> None:
    trajectories = parts.collect(10)
    metrics, whole = step(parts, trajectories, micro_batch_tokens=10**6)
    for micro_batch_tokens in (1, 200):
        split_metrics, split = step(parts, trajectories, micro_batch_tokens=micro_batch_tokens)
        assert_same(whole, split)
        assert split_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-6)


def test_the_gradient_is_the_slope_of_the_loss_that_is_reported() -> None:
    """Measured by moving the weights along the gradient; RLOO's advantages do not depend on the weights."""
    parts = build("algo=rloo", sharpen=3.0)
    trajectories = parts.collect(8)
    _, gradients = step(parts, trajectories)
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
    weights = dict(parts.agent.network.named_parameters())
    distance = 1e-3

    def loss_at(moved: float) -> float:
        with torch.no_grad():
            for name, gradient in gradients.items():
                weights[name] += moved * gradient / norm
        loss = step(parts, trajectories)[0]["optim/loss"]
        with torch.no_grad():
            for name, gradient in gradients.items():
                weights[name] -= moved * gradient / norm
        return loss

    slope = (loss_at(distance) - loss_at(-distance)) / (2 * distance)
    assert slope == pytest.approx(norm, rel=0.02)


def test_the_order_of_the_batch_changes_nothing(parts: Parts) -> None:
    trajectories = parts.collect(8)
    metrics, one = step(parts, trajectories)
    reversed_metrics, other = step(parts, trajectories[::-1])
    assert_same(one, other)
    assert reversed_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-6)


def test_padding_changes_nothing(parts: Parts) -> None:
    """A trajectory that is longer than all others, and weighs nothing, pads them."""
    long = build("env.max_steps=10", agent=parts.agent).collect(12)
    longest = max(long, key=lambda t: t.num_action_tokens)
    trajectories = parts.collect(5)
    alone = parts.learner(**NO_CLIP)._pack(trajectories, range(5))
    padded = parts.learner(**NO_CLIP)._pack([*trajectories, longest], range(6))
    assert padded.inputs.input_ids.shape[1] > alone.inputs.input_ids.shape[1]
    network = parts.agent.network
    one, other = network(alone.inputs, 1.0), network(padded.inputs, 1.0)
    count = len(alone.inputs.masks)
    torch.testing.assert_close(one.logprobs, other.logprobs[:count], rtol=0, atol=1e-5)
    one_tokens, other_tokens = alone.tokens(one.logprobs), padded.tokens(other.logprobs)[:5]
    width = one_tokens.shape[1]
    torch.testing.assert_close(one_tokens, other_tokens[:, :width], rtol=0, atol=1e-5)
    assert not other_tokens[:, width:].any()


def test_only_what_predicts_a_decision_or_a_value_has_a_gradient(parts: Parts) -> None:
    """Observations, padding and forced tokens are read, and never learnt."""
    trajectories = parts.collect(6)
    states: list[Tensor] = []

    def keep(_module: Any, _given: Any, output: Any) -> None:
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.retain_grad()
            states.append(output.last_hidden_state)

    hook = parts.agent.network.causal_lm.get_decoder().register_forward_hook(keep)
    step(parts, trajectories)
    hook.remove()
    (whole,) = states
    inputs = parts.learner()._pack(trajectories, _in_order_of_length(trajectories)).inputs
    learnt = torch.zeros(whole.shape[:2], dtype=torch.bool)
    learnt[inputs.row, inputs.position] = True
    if parts.algorithm.needs_critic:
        learnt[inputs.value_row, inputs.value_position] = True
    assert whole.grad is not None
    has_gradient = whole.grad.abs().sum(dim=2) > 0
    assert not (has_gradient & ~learnt).any()
    assert has_gradient.sum() > 0
    assert learnt.float().mean() < 0.6


def _in_order_of_length(trajectories: list[Trajectory]) -> list[int]:
    return sorted(range(len(trajectories)), key=lambda i: len(trajectories[i].segments[0].tokens))


def test_a_step_on_fresh_trajectories_starts_where_the_sampler_was() -> None:
    ppo = build("algo=ppo", "algo.num_epochs=2")
    trajectories = ppo.collect(6)
    first, second = list(ppo.learner(**NO_CLIP, lr=1e-5).learn(trajectories, None, 0))
    assert first.metrics["algo/ratio_mean"] == pytest.approx(1, abs=1e-4)
    assert first.metrics["algo/kl_behaviour"] == pytest.approx(0, abs=1e-6)
    assert second.metrics["algo/kl_behaviour"] > 1e-6


@pytest.mark.parametrize(
    ("overflow", "context_tokens"),
    [("truncate", 36), ("truncate", 64), ("truncate", 128), ("drop_oldest", 36), ("drop_oldest", 48)],
)
def test_an_episode_that_outgrew_the_context_goes_on_with_v(overflow: str, context_tokens: int) -> None:
    """A critic that says 5 everywhere: every truncated episode's last value is 5, whatever cut it off."""
    parts = build(
        "algo=ppo", "algo.bootstrap_truncated=true", "env.distractors=4", "env.max_steps=6",
        f"rollout.context_overflow={overflow}", "rollout.max_query_words=2",
    )  # fmt: skip
    parts.agent.context_tokens = context_tokens
    head = parts.agent.network.value_head
    assert head is not None
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(5.0)
    trajectories = [t for t in parts.collect(24) if t.turns]
    batch = parts.learner()._prepare(trajectories, None)
    assert batch.last_value is not None
    assert sum(t.end is EndReason.CONTEXT for t in trajectories) >= 10
    truncated = batch.last_value[~batch.terminated]
    assert truncated.tolist() == [5.0] * len(truncated)
    assert max(len(s.tokens) for t in trajectories for s in t.segments) <= context_tokens


@pytest.mark.parametrize("level", ["turn", "token"])
def test_the_critic_learns_the_return_at_either_level(level: str) -> None:
    parts = build("algo=ppo", f"algo.level={level}", "algo.num_epochs=1", "algo.gae_lambda=1.0", sharpen=1.0)
    trajectories = parts.collect(10)
    learner = parts.learner(lr=1e-6)
    losses = [next(learner.learn(trajectories, None, i)).metrics["algo/value_loss"] for i in range(8)]
    assert losses[-1] < 0.7 * losses[0]


def test_minibatches_share_out_the_collection() -> None:
    parts = build("algo=ppo", "algo.num_epochs=2", "algo.num_minibatches=3")
    learner = parts.learner()
    assert learner.updates_per_collection == 6
    seen: list[list[int]] = []
    plain = learner._step
    learner._step = lambda *args: (seen.append(args[4]), plain(*args))[1]  # type: ignore[method-assign]
    assert len(list(learner.learn(parts.collect(7), None, 0))) == 6
    for epoch in (seen[:3], seen[3:]):
        assert sorted(i for part in epoch for i in part) == list(range(7))
    assert seen[:3] != seen[3:]
    with pytest.raises(UserError, match="num_minibatches"):
        next(learner.learn(parts.collect(2), None, 0))


def minibatches(parts: Parts, trajectories: list[Trajectory], update: int, **options: Any) -> list[list[int]]:
    """The trajectories of each step of a collection, without taking the steps."""
    learner = parts.learner(**options)
    seen: list[list[int]] = []
    learner._step = lambda *args: (seen.append(args[4]), {})[1]  # type: ignore[method-assign]
    assert len(list(learner.learn(trajectories, None, update))) == 8
    return seen


def test_minibatches_are_drawn_anew_in_every_epoch_collection_and_seed() -> None:
    parts = build("algo=ppo", "algo.num_epochs=4", "algo.num_minibatches=2")
    trajectories = parts.collect(12)
    here = minibatches(parts, trajectories, 0, seed=1)
    assert here == minibatches(parts, trajectories, 0, seed=1)
    epochs = [tuple(map(tuple, here[i : i + 2])) for i in range(0, 8, 2)]
    assert len(set(epochs)) == 4
    assert here[:2] != minibatches(parts, trajectories, 8, seed=1)[:2]
    assert here[:2] != minibatches(parts, trajectories, 0, seed=2)[:2]


def test_an_infinite_gradient_takes_no_step() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner()
    plain = learner._group.clip_grad_norm
    learner._group.clip_grad_norm = lambda *args: (plain(*args), math.inf)[1]  # type: ignore[method-assign]
    before = [p.clone() for p in parts.agent.network.parameters()]
    result = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))
    after = list(parts.agent.network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert (result.metrics["optim/skipped_steps"], learner.skipped_in_a_row) == (1.0, 1)


def test_skipped_in_a_row_goes_on_where_it_was_left() -> None:
    """After a resume the run is given up no later than without it."""
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(max_skipped_steps=3)
    learner.skipped_in_a_row = 2
    poisoned(learner, lambda _call: True)
    with pytest.raises(UserError, match="not finite for 3 steps"):
        next(learner.learn(trajectories, vstar_of(parts, trajectories), 0))


def poisoned(learner: Learner, bad: Callable[[int], bool]) -> None:
    """Make the loss of some steps not a number."""
    plain, count = learner.algorithm.loss, [0]

    def loss(*args: Any, **options: Any) -> LossOutput:
        output = plain(*args, **options)
        count[0] += 1
        return replace(output, loss=output.loss * math.nan) if bad(count[0]) else output

    learner.algorithm.loss = loss  # type: ignore[method-assign]


def test_a_gradient_that_is_not_finite_skips_the_step_and_is_counted() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(micro_batch_tokens=10**6, max_skipped_steps=2)
    poisoned(learner, lambda call: call in (1, 3))
    before = [p.clone() for p in parts.agent.network.parameters()]
    skipped = []
    for update in range(4):
        result = next(learner.learn(trajectories, vstar_of(parts, trajectories), update))
        skipped.append(result.metrics["optim/skipped_steps"])
        after = list(parts.agent.network.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True)) == (update > 0)
        assert all(torch.isfinite(p).all() for p in after)
    assert skipped == [1, 1, 2, 2]


def test_too_many_skipped_in_a_row_end_the_run_with_advice() -> None:
    parts = build()
    trajectories = parts.collect(4)
    learner = parts.learner(micro_batch_tokens=10**6, max_skipped_steps=3)
    poisoned(learner, lambda _call: True)
    taken = [next(learner.learn(trajectories, vstar_of(parts, trajectories), i)) for i in range(2)]
    assert len(taken) == 2
    with pytest.raises(UserError, match=r"not finite for 3 steps.*lower lr"):
        next(learner.learn(trajectories, vstar_of(parts, trajectories), 2))


def test_out_of_memory_names_the_keys_to_turn() -> None:
    with (
        pytest.raises(UserError, match=r"micro_batch_tokens.*gradient_checkpointing.*lora\.enabled"),
        out_of_memory_advice(),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")


def test_the_gradient_is_clipped_and_its_norm_before_is_reported() -> None:
    parts = build()
    trajectories = parts.collect(6)
    unclipped, _ = step(parts, trajectories)
    learner = parts.learner(grad_clip=0.01)
    metrics = next(learner.learn(trajectories, vstar_of(parts, trajectories), 0)).metrics
    assert metrics["optim/grad_norm"] == pytest.approx(unclipped["optim/grad_norm"], rel=1e-4)
    assert metrics["optim/grad_norm"] > 0.1
    gradients = [p.grad for p in parts.agent.network.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    assert norm == pytest.approx(0.01, rel=1e-3)


def test_learning_draws_no_random_number() -> None:
    """A network that brings dropout of its own, and adapters, learn in any micro-batches what was sampled."""
    parts = build("algo=ppo", "algo.num_epochs=2", "model.lora.enabled=true")
    model = parts.agent.network.model
    for module in model.modules():
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.3
    parts.agent.network = PolicyNetwork(model, parts.agent.network.vocab_size, critic=True)
    trajectories = parts.collect(8)
    metrics, whole = step(parts, trajectories, micro_batch_tokens=10**6)
    torch.manual_seed(5)
    split_metrics, split = step(parts, trajectories, micro_batch_tokens=100)
    assert_same(whole, split)
    assert split_metrics == pytest.approx(metrics, rel=1e-4, abs=1e-6)
    assert metrics["algo/kl_behaviour"] == pytest.approx(0, abs=1e-6)


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
