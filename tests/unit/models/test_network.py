"""The network reads out action tokens only; entropy, recomputation and the critic by a second way."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.shop5_parts import Parts, build
from webshop_rl.interface.masks import everything_but, only
from webshop_rl.models import network as network_module
from webshop_rl.models.network import decision_logprobs
from webshop_rl.rollout.packing import Packed, pack
from webshop_rl.rollout.types import Trajectory


def packed(parts: Parts, trajectories: list[Trajectory]) -> Packed:
    return pack(
        trajectories,
        num_tokens=max(t.num_action_tokens for t in trajectories),
        num_turns=max(len(t.turns) for t in trajectories),
        value_level=parts.algorithm.value_level,
        pad=parts.agent.codec.pad,
        device=torch.device("cpu"),
    )


@pytest.fixture(scope="module")
def parts() -> Parts:
    return build("algo=ppo")


def test_output_layer_is_applied_where_there_was_a_choice_and_nowhere_else(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "LOGIT_CHUNK", 8)
    trajectories = parts.collect(6)
    inputs = packed(parts, trajectories).inputs
    sizes = []
    head = parts.agent.network.causal_lm.get_output_embeddings()
    hook = head.register_forward_hook(
        lambda _module, given, _output: sizes.append(given[0].shape[:-1].numel())
    )
    parts.agent.network(inputs, 1.0)
    hook.remove()
    decisions = sum(
        is_action and segment.masks[i].forced is None
        for t in trajectories
        for segment in t.segments
        for i, is_action in enumerate(segment.action)
    )
    assert sum(sizes) == decisions
    assert max(sizes) <= 8
    assert decisions < inputs.input_ids.numel() / 5


def test_entropy_is_that_of_the_masked_distribution() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]])).requires_grad_()
    masks = [only({1, 2}), None]
    log_p = decision_logprobs(logits, masks, 1.0)
    assert log_p.exp()[0].tolist() == pytest.approx([0, 0.4, 0.6, 0])
    parts = build()
    inputs = packed(parts, parts.collect(3)).inputs
    outputs = parts.agent.network(inputs, 0.7, entropy=True)
    assert outputs.entropy is not None
    # By hand: one decision at a time, over the tokens let through only.
    states = parts.agent.network.hidden(input_ids=inputs.input_ids, use_cache=False).last_hidden_state
    logits = parts.agent.network.logits(states[inputs.row, inputs.position])
    for i, mask in enumerate(inputs.masks):
        assert mask is not None
        kept = (logits[i][torch.as_tensor(mask.ids)] / 0.7).softmax(0)
        assert outputs.entropy[i].item() == pytest.approx(-(kept * kept.log()).sum().item(), abs=1e-5)
        chosen = kept[mask.ids.tolist().index(int(inputs.target[i]))]
        assert outputs.logprobs[i].item() == pytest.approx(math.log(chosen.item()), abs=1e-4)
    outputs.entropy.sum().backward()
    for parameter in parts.agent.network.parameters():
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()


def gradients(parts: Parts, inputs: Any) -> list[Tensor]:
    parts.agent.network.zero_grad()
    outputs = parts.agent.network(inputs, 0.7, entropy=True)
    (outputs.logprobs.sum() + outputs.entropy.sum() + outputs.values.sum()).backward()
    return [p.grad.clone() for p in parts.agent.network.parameters() if p.grad is not None]


def test_logits_computed_again_give_the_same_gradient(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = packed(parts, parts.collect(4)).inputs
    kept = gradients(parts, inputs)
    monkeypatch.setattr(network_module, "RECOMPUTE_ABOVE", 1)
    monkeypatch.setattr(network_module, "LOGIT_CHUNK", 5)
    for one, other in zip(kept, gradients(parts, inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_micro_batch_without_a_decision_has_a_gradient_and_it_is_zero(parts: Parts) -> None:
    inputs = packed(parts, parts.collect(2)).inputs
    forced = replace(
        inputs, row=inputs.row[:0], position=inputs.position[:0], target=inputs.target[:0], masks=[]
    )
    parts.agent.network.zero_grad()
    parts.agent.network(forced, 1.0).logprobs.sum().backward()
    found = [p.grad for p in parts.agent.network.causal_lm.get_decoder().parameters() if p.grad is not None]
    assert found
    assert all((gradient == 0).all() for gradient in found)


def test_gradient_checkpointing_gives_the_same_gradient(parts: Parts) -> None:
    inputs = packed(parts, parts.collect(4)).inputs
    network = parts.agent.network.train()
    plain = gradients(parts, inputs)
    network.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    again = gradients(parts, inputs)
    network.model.gradient_checkpointing_disable()
    for one, other in zip(plain, again, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_a_new_critic_says_0_everywhere() -> None:
    parts = build("algo=ppo", sharpen=1.0)
    assert not parts.agent.network(packed(parts, parts.collect(2)).inputs, 1.0).values.any()
    with pytest.raises(ValueError, match="no critic"):
        build().agent.network.values(torch.zeros(1, 32))


def test_tokens_beyond_the_tokenizer_are_never_read_out() -> None:
    parts = build()
    network = parts.agent.network
    network.vocab_size -= 3
    assert network.logits(torch.zeros(2, 32)).shape == (2, parts.agent.codec.vocab_size - 3)


def test_masks_and_temperature_are_the_same_function_for_sampler_and_learner() -> None:
    logits = torch.tensor([[1.0, 2.0, 4.0]])
    halved = decision_logprobs(logits, [everything_but({2})], 0.5)
    # exp(2), exp(4) over their sum
    assert halved.exp()[0].tolist() == pytest.approx([1 / (1 + math.e**2), math.e**2 / (1 + math.e**2), 0.0])
