"""One optimiser step: what it depends on, and what it does not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.learner_steps import NO_CLIP, step
from tests.support.shop5_parts import Parts, build
from webshop_rl.envs.types import EndReason
from webshop_rl.errors import UserError
from webshop_rl.models.network import PolicyNetwork
from webshop_rl.rollout.types import Trajectory

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
    inputs = parts.learner()._pack(trajectories, range(6)).inputs
    assert inputs.tree is not None
    learnt = torch.zeros(whole.shape[:2], dtype=torch.bool)
    learnt[0, inputs.tree.place[inputs.row, inputs.position]] = True
    if parts.algorithm.needs_critic:
        learnt[0, inputs.tree.place[inputs.value_row, inputs.value_position]] = True
    assert whole.grad is not None
    has_gradient = whole.grad.abs().sum(dim=2) > 0
    assert not (has_gradient & ~learnt).any()
    assert has_gradient.sum() > 0
    assert learnt.float().mean() < 0.6


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
    learner._step = lambda *args: (seen.append(args[1]), plain(*args))[1]  # type: ignore[method-assign]
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
    learner._step = lambda *args: (seen.append(args[1]), {})[1]  # type: ignore[method-assign]
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
