"""SmolLM2-135M: real weights sample and learn alike, in both ways to act and at both temperatures."""

from __future__ import annotations

import pytest

from tests.support.agreement import assert_agreement
from tests.support.paths import REPOSITORY
from tests.support.shop5_parts import build
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


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("decoding", ["admissible", "free"])
def test_sampler_and_learner_agree(agent: Agent, decoding: str, temperature: float) -> None:
    parts = build(
        *MODEL, f"rollout.decoding={decoding}", f"rollout.temperature={temperature}",
        "rollout.max_reply_tokens=12", "rollout.max_query_words=3", agent=agent, small=("env.max_steps=2",),
    )  # fmt: skip
    trajectories = parts.collect(2)
    assert_agreement(parts, trajectories, 10**6)
