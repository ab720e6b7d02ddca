"""SmolLM2-135M: real weights sample and learn alike, in both ways to act and at both temperatures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.support.agreement import assert_agreement
from tests.support.paths import REPOSITORY
from tests.support.shop5_parts import build
from webshop_rl.interface.reply import THINK_CLOSE, THINK_OPEN
from webshop_rl.models.agent import Agent

WEIGHTS = REPOSITORY / "models_cache" / "smollm2"

pytestmark = [
    pytest.mark.smollm2,
    pytest.mark.skipif(not list(WEIGHTS.glob("*.gguf")), reason="no weights in models_cache: make smollm2"),
]
MODEL = ("model=smollm2_135m", f"model.path={WEIGHTS}")


@pytest.fixture(scope="module")
def agent() -> Agent:
    return build(*MODEL, sharpen=1.0, small=()).agent


def test_the_weights_are_saved_as_what_they_are_by_now(agent: Agent, tmp_path: Path) -> None:
    model = agent.network.causal_lm
    model.save_pretrained(tmp_path)  # transformers refuses to save what it takes for quantised
    assert "quantization_config" not in json.loads((tmp_path / "config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    weights = dict(model.named_parameters())
    assert all(torch.equal(tensor, weights[name]) for name, tensor in again.named_parameters())


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("decoding", ["admissible", "free"])
def test_sampler_and_learner_agree(agent: Agent, decoding: str, temperature: float) -> None:
    parts = build(
        *MODEL, f"rollout.decoding={decoding}", f"rollout.temperature={temperature}",
        "rollout.max_reply_tokens=12", "rollout.max_query_words=3", agent=agent, small=("env.max_steps=2",),
    )  # fmt: skip
    trajectories = parts.collect(2)
    assert_agreement(parts, trajectories, 10**6)


def test_the_ragen_preset_samples_thoughts_and_learns_from_them(agent: Agent) -> None:
    parts = build(
        *MODEL, "experiment=ragen", "rollout.max_think_tokens=6", "rollout.max_query_words=3",
        agent=agent, small=("env.max_steps=2",),
    )  # fmt: skip
    trajectories = parts.collect(2)
    replies = [turn.reply for trajectory in trajectories for turn in trajectory.turns]
    assert all(reply.startswith(THINK_OPEN) and THINK_CLOSE in reply for reply in replies)
    assert (
        min(t.num_decisions / len(t.turns) for t in trajectories) > 6
    )  # six of a thought, then the action's
    (result,) = parts.learner().learn(trajectories, [0.5, 1.0], 0)
    assert result.metrics["algo/kl"] == pytest.approx(0.0, abs=1e-6)  # the policy is the reference still
    assert 0 < result.metrics["optim/grad_norm"] < float("inf")
