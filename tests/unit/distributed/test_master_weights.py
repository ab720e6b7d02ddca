"""Steps too small for bfloat16 add up."""

from __future__ import annotations

import copy

import torch
from torch import nn

from webshop_rl.config.schema import OptimConfig
from webshop_rl.distributed.master_weights import MasterAdamW
from webshop_rl.training.optimiser import build_optimiser

LR = 5e-6
SETTINGS = OptimConfig(
    grad_clip=1.0, weight_decay=0.0, beta1=0.9, beta2=0.95, warmup_updates=0, schedule="constant",
    micro_batch_tokens=16384, max_skipped_steps=20,
)  # fmt: skip


def network(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8, bias=False).to(torch.bfloat16)
    with torch.no_grad():
        layer.weight.clamp_(min=0.02)
    return layer.to(dtype)


def train(module: nn.Module, optimiser: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimiser.zero_grad(set_to_none=True)
        generator = torch.Generator().manual_seed(step)
        module.weight.grad = (torch.rand(8, 8, generator=generator) + 0.5).to(module.weight.dtype)  # type: ignore
        optimiser.step()


def test_bfloat16_weights_follow_float32_training() -> None:
    narrow, wide = network(torch.bfloat16), network(torch.float32)
    start = wide.weight.detach().clone()  # type: ignore[union-attr]
    lost = copy.deepcopy(narrow)
    for module in (narrow, wide):
        train(module, build_optimiser(module, LR, SETTINGS, 1.0), range(200))
    train(lost, torch.optim.AdamW(lost.parameters(), lr=LR, weight_decay=0.0), range(200))
    # Every gradient is positive, so AdamW goes down by about LR a step: 200 steps are 1e-3.
    assert torch.allclose(start - wide.weight, torch.full((8, 8), 1e-3), rtol=0.1)  # type: ignore[operator]
    # The narrow weights are the wide ones rounded (gradients differ by their rounding, 2**-8 of themselves).
    assert torch.allclose(narrow.weight.float(), wide.weight, rtol=2**-7)  # type: ignore[operator, arg-type]
    assert torch.equal(lost.weight.float(), start)  # type: ignore[operator, arg-type]


def test_a_resumed_optimiser_goes_on_as_if_it_had_not_stopped() -> None:
    whole = network(torch.bfloat16)
    train(whole, build_optimiser(whole, LR, SETTINGS, 1.0), range(60))
    first = network(torch.bfloat16)
    optimiser = build_optimiser(first, LR, SETTINGS, 1.0)
    train(first, optimiser, range(25))
    weights, state = copy.deepcopy(first.state_dict()), copy.deepcopy(optimiser.state_dict())
    second = network(torch.bfloat16)
    resumed = build_optimiser(second, LR, SETTINGS, 1.0)
    second.load_state_dict(weights)
    resumed.load_state_dict(state)
    train(second, resumed, range(25, 60))
    assert torch.equal(second.weight, whole.weight)  # type: ignore[arg-type]


def test_gradients_are_forgotten_and_float32_needs_no_copies() -> None:
    narrow = network(torch.bfloat16)
    optimiser = build_optimiser(narrow, LR, SETTINGS, 1.0)
    assert isinstance(optimiser, MasterAdamW)
    narrow.weight.grad = torch.ones_like(narrow.weight)  # type: ignore[arg-type]
    optimiser.zero_grad(set_to_none=True)
    assert narrow.weight.grad is None
    assert type(build_optimiser(network(torch.float32), LR, SETTINGS, 1.0)) is torch.optim.AdamW
