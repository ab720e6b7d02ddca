"""The keys a 3 B model needs on one GPU, on a small Qwen2: whole runs, then an evaluation alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from tests.support.shop5_parts import curve, run_here
from tests.support.small_tokenizer import small_tokenizer
from webshop_rl.evaluate.__main__ import main

SHORT = (
    "num_updates=2", "algo.group_size=6", "algo.goals_per_update=2", "evaluation.every=2",
    "evaluation.val_episodes=2", "evaluation.test_episodes=5", "env.max_steps=3",
    "rollout.max_query_words=2", "optim.micro_batch_tokens=700", "lr=1e-3",
)  # fmt: skip


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    tokenizer = small_tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer) + 7, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("lora", [True, False], ids=["LoRA", "full"])
def test_a_run_in_bfloat16_with_checkpointing_and_small_micro_batches(
    qwen: Path, tmp_path: Path, lora: bool
) -> None:
    model = ("model=qwen2_5_3b", f"model.path={qwen}", f"model.lora.enabled={lora}")
    name = "0123456789ab"
    _, folder = run_here(tmp_path, name, *model, *SHORT, "algo=apo_pg", "algo.kl_coef=0.1")
    norms = curve(folder, "optim/grad_norm")
    assert sorted(norms) == [1, 2]
    assert all(norm > 0 for norm in norms.values())
    assert curve(folder, "optim/skipped_steps")[2] == 0
    last = load_file(sorted((folder / "checkpoints").iterdir())[-1] / "weights.safetensors")
    if lora:
        assert all("lora_" in tensor for tensor in last)
        assert any(last[tensor].any() for tensor in last if "lora_B" in tensor)  # they begin at 0
    else:
        before = load_file(qwen / "model.safetensors")
        assert any(not torch.equal(last[f"model.{tensor}"], value) for tensor, value in before.items())
    # The adapters are kept in float32, the whole model in the type it computes in.
    assert {t.dtype for t in last.values()} == {torch.float32 if lora else torch.bfloat16}

    (folder / "signature.json").write_text(json.dumps({"signature": name}))
    assert main([str(folder), "tracking=journal", "episodes=5"]) == 0
    (evaluated,) = (tmp_path / "evaluations").iterdir()
    episodes = [f / "episodes" / "test.jsonl" for f in (folder, evaluated)]
    assert episodes[0].read_text() == episodes[1].read_text()
