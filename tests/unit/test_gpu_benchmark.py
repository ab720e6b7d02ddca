"""What benchmarks.gpu measures, on small shapes without a GPU."""

from __future__ import annotations

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import SMALL, Case
from webshop_rl.config import register

CPU = torch.device("cpu")


def case(*, lora: bool = False, checkpointing: bool = False) -> Case:
    return Case("small", SMALL, lora, checkpointing, rows=2, length=64, tokens=400)


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "no GPU is visible" in capsys.readouterr().err


def test_segments_of_a_group_share_their_first_half_and_fill_the_micro_batch() -> None:
    made = gpu.segments(case())
    inputs = gpu.inputs_of(made, CPU)
    assert inputs.tree is not None
    assert made[0][:32] == made[7][:32] != made[8][:32]
    # 11 second halves and 2 prompts, of 32 each; two halves may begin with the same token by chance.
    assert len(made) == 11
    assert 400 <= inputs.tree.tokens.shape[1] <= 13 * 32


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("checkpointing", [True, False])
def test_every_way_of_training_is_measured(lora: bool, checkpointing: bool) -> None:
    register()
    small = case(lora=lora, checkpointing=checkpointing)
    network = gpu.build(small, CPU)
    trained = {name: p.detach().clone() for name, p in network.named_parameters() if p.requires_grad}
    assert all("lora" in name for name in trained) == lora
    rate, memory = gpu.learn_rate(network, gpu.inputs_of(gpu.segments(small), CPU))
    assert rate > 0
    assert memory == 0  # of a GPU
    moved = [name for name, p in network.named_parameters() if name in trained and not p.equal(trained[name])]
    assert moved
    assert gpu.decode_rate(network, small, steps=1) > 0


def test_sampler_and_learner_differ_by_rounding_alone() -> None:
    network = gpu.build(case(), CPU)
    made = gpu.segments(case())
    assert gpu.gap(network.float(), made) < 1e-4
    assert 1e-6 < gpu.gap(network.bfloat16(), made) < 0.5


def test_predictions_are_of_the_shape() -> None:
    register()
    found = [
        gpu.predicted(gpu.case_of("qwen2_5_7b", lora=lora, checkpointing=checkpointing))
        for lora, checkpointing in ((True, True), (True, False), (False, True))
    ]
    # 7.6e9 weights of 2 bytes; trained whole they have gradients, moments and copies besides: 16 bytes each.
    assert 15 < found[0] < found[1] < found[2]
    assert found[2] > 7.6 * 16
