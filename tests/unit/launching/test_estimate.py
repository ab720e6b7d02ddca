"""Memory of a run by hand: narrow weights, and weights shared out over processes."""

from __future__ import annotations

from typing import Any

import pytest

from webshop_rl.launching.dry_run import estimate
from webshop_rl.models.shape import Shape, model_shape
from webshop_rl.models.tiny import load_tiny

# 2 layers of 4 x 10 x 10 + 3 x 10 x 20 = 1000 parameters, 100 words x 10: 3000 in all.
ACTIVATIONS = 1000 * 2 * (12 * 10 + 3 * 20)  # tokens x layers x width, numbers
LOGITS = 250 * 100 * 8
CUDA = 0.8e9


def config(dtype: str, *, rank: int = 0, strategy: str = "ddp", tasks: int = 1) -> dict[str, Any]:
    return {
        "model": {
            "name": "tiny", "hidden_size": 10, "num_layers": 2, "max_vocabulary": 100, "dtype": dtype,
            "gradient_checkpointing": False, "context_tokens": 50,
            "lora": {"enabled": rank > 0, "rank": rank},
        },
        "rollout": {"batch_size": 4, "engine": "native"},
        "optim": {"micro_batch_tokens": 1000},
        "hardware": {"strategy": strategy, "slurm": {"nodes": 2, "tasks_per_node": tasks}},
    }  # fmt: skip


def bytes_of(given: dict[str, Any]) -> float:
    found = estimate(given).gpu_gb
    assert found is not None
    return found * 1e9 - CUDA


def test_narrow_weights_are_trained_on_float32_copies() -> None:
    # Weights and reference; gradients 2, moments 8, copies 4 bytes a parameter.
    expected = 2 * 3000 * 2 + 3000 * (2 + 8 + 4) + ACTIVATIONS * 2 + LOGITS
    assert bytes_of(config("bfloat16")) == pytest.approx(expected, abs=10)
    assert estimate(config("bfloat16")).disk_gb == pytest.approx(3 * 3000 * (2 + 8 + 4) / 1e9)


def test_shards_are_of_what_is_learnt_and_acting_keeps_the_whole() -> None:
    # 8 processes: a shard of weights, gradients, moments; embedding and a layer whole, with gradients.
    shard = 3000 * (4 + 4 + 8) / 8 + 2 * (1000 + 1000) * 4
    expected = 2 * 3000 * 4 + shard + ACTIVATIONS * 4 + LOGITS
    assert bytes_of(config("float32", strategy="fsdp", tasks=4)) == pytest.approx(expected, abs=10)
    adapters = Shape(2, 10, 20, 10, 100).adapter_parameters(1)
    policy = 3000 * 2 + adapters * 4
    shard = (policy + adapters * (4 + 8)) / 8 + 2 * (1000 + 1000) * 2
    expected = policy + shard + ACTIVATIONS * 2 + LOGITS
    assert bytes_of(config("bfloat16", rank=1, strategy="fsdp", tasks=4)) == pytest.approx(expected, abs=10)


def test_an_engine_has_weights_and_a_cache_of_its_own() -> None:
    given = config("bfloat16")
    learnt = 2 * 3000 * 2 + 3000 * (2 + 8 + 4)
    transcript = 2 * 50 * 2 * 10 * 2  # keys and values x tokens x layers x width x bytes
    given["rollout"] = {"batch_size": 1000, "engine": "native"}
    assert bytes_of(given) == pytest.approx(learnt + 1000 * transcript, abs=10)
    given["rollout"]["engine"] = "vllm"
    assert bytes_of(given) == pytest.approx(learnt + 1001 * transcript + 3000 * 2 + CUDA, abs=10)


def test_a_large_model_is_what_shards_are_for() -> None:
    given = config("bfloat16", strategy="fsdp", tasks=4)
    given["model"] = {**given["model"], "name": "qwen2_5_7b", "gradient_checkpointing": True}
    del given["model"]["hidden_size"]
    whole = {**given, "hardware": {"strategy": "ddp", "slurm": {"nodes": 2, "tasks_per_node": 4}}}
    assert bytes_of(given) < 80e9 < bytes_of(whole)


@pytest.mark.parametrize("copying", [{}, {"pointer": True}, {"pointer": True, "smear": True}])
def test_the_tiny_model_is_counted_as_it_is_built(copying: dict[str, bool]) -> None:
    model = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "max_vocabulary": 64}
    model |= {"pointer": False, "smear": False, **copying}
    agent = load_tiny(
        texts=["red shoes and blue shirts"], furniture=[], critic=False, name="tiny", lr_scale=1.0,
        init_seed=0, context_tokens=128, max_page_tokens=32, dtype="float32", gradient_checkpointing=False,
        micro_batch_tokens=1, product_labels="rank",
        lora={"enabled": False, "rank": 1, "alpha": 1.0, "target_modules": "all-linear"},
        init="normal", whole_furniture=False, **model,
    )  # fmt: skip
    counted = model_shape({**model, "max_vocabulary": agent.codec.vocab_size})
    assert counted is not None
    built = sum(p.numel() for p in agent.network.parameters() if p.dim() == 2)
    assert counted.parameters == built
