"""What an engine is handed: the very policy, adapters merged, and only when it has changed."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from tests.support.plain_network import plain_logits
from tests.support.shop5_parts import build
from webshop_rl.rollout.engines.weights import stamp, write_config, write_weights

LORA = ("model.lora.enabled=true", "model.lora.rank=2")


def test_the_folder_computes_what_the_policy_does_with_and_without_adapters(tmp_path: Path) -> None:
    parts = build(*LORA)  # their second halves are not zero here
    network = parts.agent.network.eval()
    tokens = [5, 7, 9, 11, 6]
    write_config(network, tmp_path)

    def loaded() -> torch.Tensor:
        write_weights(network, tmp_path)
        model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
        with torch.no_grad():
            return model(torch.tensor([tokens])).logits[0, :, : network.vocab_size].double()

    with_adapters = plain_logits(network, tokens)
    torch.testing.assert_close(loaded(), with_adapters, rtol=0, atol=1e-4)
    with parts.agent.adapters_off():
        without = plain_logits(network, tokens)
        torch.testing.assert_close(loaded(), without, rtol=0, atol=1e-4)
    assert (with_adapters - without).abs().max() > 1e-2


def test_a_stamp_changes_with_the_weights_and_with_nothing_else() -> None:
    parts = build("algo=rloo", *LORA)
    network = parts.agent.network
    before = stamp(network)
    trajectories = parts.collect(4)
    assert stamp(network) == before
    with parts.agent.adapters_off():
        assert stamp(network) != before
    assert stamp(network) == before
    next(parts.learner().learn(trajectories, None, 0))
    assert stamp(network) != before
